"""Built-in action ``reconcile``: reads a request again from the API and repairs what callbacks missed.

It runs for ``deedbox.gap_suspected``, which the sweeper and ``deedbox reconcile`` file: the read model catches up,
a missing document is fetched, and ``deedbox.reconciled`` tells other actions what was missing. Where the deployment
synthesises, the events that the API proves are released (``deedbox.workers.builtins.synthesis``); elsewhere user
actions for them are never called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.gaps import RECONCILED, SUSPECTED, Findings, Gap, Known, found, lost, suspected
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import (
    ENDED,
    catch_up,
    gone,
    is_contradicted,
    says_complete,
    state_shown,
    vindicates,
)
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import DAY_S, Retention
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Reject, Retry, add_line
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins import read_model
from deedbox.workers.builtins.document_record import SIMULATED, DocumentRecords
from deedbox.workers.builtins.fetch_documents import ATTEMPTS, TIMEOUT_S, FetchDocuments, files_turn
from deedbox.workers.builtins.known_requests import known
from deedbox.workers.builtins.synthesis import Synthesis
from deedbox.workers.dropbox_sign.account import (
    NOT_FOUND,
    NOT_FOUND_GRACE_S,
    OK,
    Accounts,
    Admitted,
    files_budget,
    is_others,
    outages_are_waited_for,
    refuse,
    request_in,
    requested,
    turn_of,
)
from deedbox.workers.dropbox_sign.call_budgets import Turn

NAME: Final = "reconcile"

LOOK_AGAIN_S: Final = 900.0
LOOK_UNTIL_S: Final = 6 * 3600.0
"""A request that was said to be complete and is not, for the API: looked at again after 15 min, then at twice the
age, until it is 6 h: the vendor finishes within minutes, so that more calls would tell nothing new."""

CONFIRM_AGAIN_S: Final = 10.0
"""The same for a request that is read only because an application asked: for a minute, as the API may lag behind."""

DELETED: Final = 410
_GONE: Final = frozenset({403, NOT_FOUND, DELETED})


@dataclass(frozen=True, slots=True)
class _Case:
    """One call: what it is about."""

    event: Event
    context: Context
    request_id: str
    stream: str
    asked: Findings
    """What the sweeper or the command had found; empty: the request is read only to confirm it."""


class Reconcile:
    """The action; one per process. ``fetch`` is None where documents are not stored, ``synthesis`` where nothing is synthesised."""

    def __init__(
        self,
        scripts: Scripts,
        accounts: Accounts,
        fetch: FetchDocuments | None,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        synthesis: Synthesis | None = None,
    ) -> None:
        self._scripts = scripts
        self._synthesis = synthesis
        self._retention = retention
        self._accounts = accounts
        self._fetch = fetch
        self._records = DocumentRecords(scripts, retention)

    def __call__(self, event: Event, context: Context) -> None:
        """Compare, repair and report."""
        request_id = requested(event)
        if request_id is None:
            raise Reject("a gap of something that is no signature request")
        stream = f"{event.source}:{event.ordering_key}"
        asked = Findings.load(event.payload).without(Gap.UNCONFIRMED)
        case = _Case(event, context, request_id, stream, asked)
        with outages_are_waited_for():
            if self._accounts.knows(event.source, request_id):
                self._look(case)
            else:
                self._records.deny(stream, context, SIMULATED)

    def _look(self, case: _Case) -> None:
        here = self._known(case)
        if here is None:
            return  # erased meanwhile
        begun = _mark_of(here.model, case.context)
        wanted = begun or "run" in case.event.payload or suspected(here) or is_contradicted(here.model)
        if not wanted:
            return  # while this call waited, callbacks closed the gap
        admitted = self._admit(case, here)
        asked_at = max(self._accounts.clock(), here.model.get("updated_at", 0))
        answer = admitted.signature_request(case.request_id)
        if answer.status != OK:
            admitted.give_back("files", "test_files")
        if is_others(answer):
            # Nothing that a person could do: it is noted once, and not looked for again.
            self._remember(case, case.asked)
            self._note_gone(case, asked_at, deleted=False)
            self._records.deny(case.stream, case.context)
            return
        if answer.status in _GONE:
            if answer.status == NOT_FOUND and not case.asked and self._waited_s(case) < NOT_FOUND_GRACE_S:
                raise Retry("the API does not know the request yet", after=CONFIRM_AGAIN_S)
            self._note_gone(case, asked_at, deleted=answer.status == DELETED)
            reason = f"the API will not show the request ({answer.name})"
            self._tell(case, case.asked, self._remember(case, case.asked), (), reason)
            return
        if answer.status != OK:
            refuse(answer, case.context, self._accounts.clock())
        self._repair(case, here, admitted, request_in(answer, case.request_id), asked_at)

    def _admit(self, case: _Case, here: Known) -> Admitted:
        """Take the calls. The download's turn first: else every document that waits would spend a call on each try."""
        source, context = case.event.source, case.context
        shown = here.model.get("trust", {}).get("state") == Trust.CONFIRMED.word
        if Gap.NO_DOCUMENT in case.asked.gaps and self._fetch and not here.has_document:
            kind = files_budget(test_mode=case.event.test_mode)
            turn = turn_of(files_turn(context, case.stream), case.event, shown=shown)
            return self._accounts.admit(source, turn, kind, "api")
        return self._accounts.admit(source, turn_of(Turn.of(context), case.event, shown=shown), "api")

    def _repair(
        self, case: _Case, here: Known, admitted: Admitted, request: Mapping[str, Any], asked_at: float
    ) -> None:
        shown = state_shown(request)
        contradicted = (
            says_complete(here.model)
            and here.model.get("state") not in ENDED
            and shown not in {"all_signed", "declined", "error"}
        )
        if contradicted:
            # The API counts now; it may lag behind, and so it is asked again.
            read_model.confirm(self._scripts, case.stream, request, asked_at, self._retention)
            self._look_again(case, admitted)
        if vindicates(here.model, request):
            read_model.note_wrong(self._scripts, case.stream, asked_at)
        findings = case.asked if contradicted else Findings()
        mark = self._remember(case, findings, request, asked_at)
        findings = Findings.load(mark)
        synthesised = self._release(case, request)
        fetched = False
        if not (Gap.NO_DOCUMENT in findings.gaps and self._fetch and shown == "all_signed"):
            admitted.give_back("files", "test_files")
        else:
            fetched = self._fetch.fetch_missing(
                case.event, case.context, case.request_id, case.stream, admitted, request
            )
            if not fetched:  # another call was faster
                findings = findings.without(Gap.NO_DOCUMENT)
        repaired = [what for what, done in (("state", mark.get("advanced")), ("document", fetched)) if done]
        reason = "the API does not show the request as complete" if contradicted else ""
        if fetched:
            synthesised = self._release(case, request, but=synthesised.get("released", ()))
        self._tell(case, findings, synthesised or mark, repaired, reason)

    def _release(
        self, case: _Case, request: Mapping[str, Any], *, but: Collection[str] = ()
    ) -> Mapping[str, Any]:
        """Release what is lost, if this deployment synthesises. Returns the mark, which lists all that this call released.

        The mark comes first: a call that a crash repeats may find released and worked off what it has to report. ``but``: what
        this try has released.
        """
        here = self._known(case)
        if self._synthesis is None or here is None:
            return {}
        now, has_document = self._accounts.clock(), bool(self._records.read(case.stream).versions)
        # A day less: what is handed over may lie in the inbox while its order state comes to its end.
        remembered_s = self._retention.state_s - DAY_S
        events = [
            each
            for each in lost(here, request, now, remembered_s, has_document=has_document)
            if each.name not in but
        ]
        before = _mark_of(here.model, case.context)
        if not events:
            return before
        mark = before or self._mark(case, Findings(), here.model, here.model)
        mark["released"] = sorted({*mark.get("released", ()), *(each.name for each in events)})

        def change(model: Mapping[str, Any]) -> Mapping[str, Any]:
            return {**model, "reconciled": mark}

        read_model.change(self._scripts, case.stream, change, self._retention)
        shown = {**request, "signature_request_id": case.request_id}
        self._synthesis.release(case.stream, events, shown, case.context.trace_id, now)
        return mark

    def _known(self, case: _Case) -> Known | None:
        found = known(
            self._scripts.redis,
            [case.stream],
            fetches=self._fetch is not None,
            synthesises=self._synthesis is not None,
        )
        return found.get(case.stream)

    def _look_again(self, case: _Case, admitted: Admitted) -> None:
        waited_s = self._waited_s(case)
        until_s, again_s = (
            (LOOK_UNTIL_S, LOOK_AGAIN_S) if case.asked else (NOT_FOUND_GRACE_S, CONFIRM_AGAIN_S)
        )
        if waited_s < until_s:
            admitted.give_back("files", "test_files")
            raise Retry("the API does not show the request as complete yet", after=max(again_s, waited_s))

    def _waited_s(self, case: _Case) -> float:
        since = case.context.waiting_since
        return 0.0 if since is None else self._accounts.clock() - since

    def _note_gone(self, case: _Case, asked_at: float, *, deleted: bool) -> None:
        def change(model: Mapping[str, Any]) -> Mapping[str, Any]:
            return gone(model, asked_at, deleted=deleted)

        here = self._known(case)
        if here is not None and here.model:
            read_model.change(self._scripts, case.stream, change, self._retention)

    def _remember(
        self, case: _Case, findings: Findings, request: Mapping[str, Any] | None = None, asked_at: float = 0.0
    ) -> Mapping[str, Any]:
        """Bring the read model up to date and mark it. Returns the mark; empty if there was nothing to find.

        A call that a crash repeats finds its own mark, and so tells the same again.
        """
        here = self._known(case) or Known()
        mark: dict[str, Any] = {}

        def change(model: Mapping[str, Any]) -> Mapping[str, Any]:
            now_known = Known(model, here.order, here.has_document, here.fetches)
            gaps = findings if request is None else findings | found(now_known, request)
            after = dict(model) if request is None else catch_up(model, request, asked_at)
            mark.clear()
            mark.update(_mark_of(model, case.context))
            if not mark and gaps:
                mark.update(self._mark(case, gaps, model, after))
            marked = {"reconciled": mark} if mark else {}
            return {**after, **marked, "signature_request_id": case.request_id}

        read_model.change(self._scripts, case.stream, change, self._retention)
        return mark

    def _mark(
        self, case: _Case, findings: Findings, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> dict[str, Any]:
        told = {*before.get("reconciled", {}).get("told", ()), *findings.missed}
        changed = any(before.get(name) != after.get(name) for name in ("state", "signers"))
        return {
            **findings.dump(),
            "at": round(self._accounts.clock(), 3),
            "by": case.context.idempotency_key,
            "advanced": changed,
            "told": sorted(told),
        }

    def _tell(
        self, case: _Case, findings: Findings, mark: Mapping[str, Any], repaired: Any, reason: str
    ) -> None:
        released = list(mark.get("released", ()))
        if not findings and not released:
            return
        state = (self._known(case) or Known()).model.get("state", "unknown")
        told = {
            **findings.dump(), "repaired": list(repaired), "released": released, "state": state, "reason": reason
        }  # fmt: skip
        add_line(case.context, TimelineKind.RECONCILED, **told)
        # The time of the mark sets this apart from an earlier gap of the same kind, and not from a repeat.
        at = mark.get("at", case.event.time)
        case.context.emit(RECONCILED, {"signature_request_id": case.request_id, "at": at, **told})


def _mark_of(model: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the mark that an earlier try of this call left on the read model; empty if there is none."""
    mark: dict[str, Any] = model.get("reconciled", {})
    return dict(mark) if mark.get("by") == context.idempotency_key else {}


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry. Unordered: one look that waits must not hold up another one's."""
    return RegisteredAction(
        NAME,
        (SUSPECTED,),
        function,
        keys.DOCUMENTS,
        TIMEOUT_S,
        ordered=False,
        policy=AttemptPolicy(attempts=ATTEMPTS),
    )
