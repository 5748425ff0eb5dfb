"""Built-in action ``erase_destroyed``: when Dropbox Sign has destroyed a request, so does Deedbox.

It comes last: every other action has the event before. It believes the API only, because ``event_hash`` does not sign
the body: a callback alone, forged or not, erases nothing.

No page documents the API's answer for a destroyed request. 404 (unknown) and 410 (deleted) are the two that say gone
(docs/protocol.md, section 6). But 404 is also the answer for a request that the API does not know yet. So it counts only for
a request that the API has shown before, and only if the API answers it again after ``GRACE_S``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from deedbox.shared.core.attempts import AttemptPolicy
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import was_confirmed
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.keys import DOCUMENTS
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import DAY_S, Retention
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins import read_model
from deedbox.workers.dropbox_sign.account import (
    NOT_FOUND,
    Accounts,
    is_others,
    outages_are_waited_for,
    requested,
)
from deedbox.workers.dropbox_sign.call_budgets import Turn

NAME: Final = "erase_destroyed"
DESTROYED: Final = "signature_request_destroyed"

PATIENCE_S: Final = 6.0 * DAY_S
"""How long the other actions are waited for: twice as long as one of them may retry by default. Then a dead letter."""

DELETED: Final = 410

GRACE_S: Final = 600.0
"""How long the API may go on showing a request that it reported as destroyed; and the time between two answers of 404."""

LOOK_AGAIN_S: Final = (2.0, 30.0)
"""Time between two looks at the other actions' queues: at first, and after ``EAGER_LOOKS``."""

EAGER_LOOKS: Final = 15


class EraseDestroyed:
    """The action; one per process."""

    def __init__(
        self, eraser: Eraser, holdings: Holdings, accounts: Accounts, scripts: Scripts,
        retention: Retention = Retention(), *, documents: bool,  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._eraser = eraser
        self._holdings = holdings
        self._accounts = accounts
        self._scripts = scripts
        self._retention = retention
        self._documents = documents
        self._clock = clock

    def __call__(self, event: Event, context: Context) -> None:
        """Wait for the others, ask the API, erase."""
        request_id = requested(event)
        if request_id is None:
            return
        subject = Subject(event.source, event.ordering_key)
        with outages_are_waited_for():
            # A tombstone: the call that set it was killed before it was through.
            if self._holdings.erased_at(subject.stream) is None:
                self._wait_for_others(subject, context)
                kept = self._why_kept(subject, request_id, event, context)
                if kept:
                    context.note(f"not erased: {kept}")
                    return
            self._eraser.erase(subject, documents=self._documents, by=Asker.DESTROYED)

    def _wait_for_others(self, subject: Subject, context: Context) -> None:
        busy = sorted(set(self._holdings.queued(subject.stream)) - {NAME})
        if self._holdings.held(subject.stream):
            busy.append("the order of events")
        if busy:
            raise Retry(
                f"{', '.join(busy[:5])} must be through with the request before it is erased",
                after=LOOK_AGAIN_S[context.retries >= EAGER_LOOKS],
            )

    def _why_kept(self, subject: Subject, request_id: str, event: Event, context: Context) -> str:
        """Ask the API, within the account's budget; a wait occupies no process. Returns "" if the request is gone."""
        if not self._accounts.knows(subject.source, request_id):
            return ""  # simulated: nothing is lost
        admitted = self._accounts.admit(subject.source, Turn.of(context), "api")
        answer = admitted.signature_request(request_id)
        if answer.status == DELETED:
            return ""
        if answer.status == NOT_FOUND:
            return self._why_unknown(subject, event)
        if is_others(answer) and not self._eraser.documents(subject):
            return "the API keeps the request from this account, which is only a recipient of it"
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            now = self._clock()
            if now - (context.waiting_since or now) < GRACE_S:
                raise Retry("the API still shows the request", after=60.0)
            return "the API still shows the request"
        if answer.status in {409, 422, 429} or answer.status >= 500:  # noqa: PLR2004 - HTTP
            raise Retry(f"the API does not answer for now ({answer.name})")
        raise Reject(
            f"the API does not say whether the request is gone ({answer.name}); `deedbox erase` erases it"
        )

    def _why_unknown(self, subject: Subject, event: Event) -> str:
        """Return why a 404 does not say that a request is gone; "" if it does."""
        model = self._model(subject.stream)
        if not was_confirmed(model):
            if Trust.named(event.trust) >= Trust.ATTESTED:
                raise Reject(
                    "the API does not know the request, and never showed it here; if it was destroyed, "
                    "`deedbox erase` erases it"
                )
            return "the API does not know the request, and never showed it here; `deedbox erase` erases it"
        now = self._clock()
        gone_at = model.get("gone_at")
        if gone_at is None:
            # Whatever is merged later takes the mark away: a request about which something comes is not gone.
            read_model.change(
                self._scripts, subject.stream, lambda found: {**found, "gone_at": now}, self._retention
            )
        left_s = GRACE_S - (now - gone_at) if gone_at is not None else GRACE_S
        if left_s > 0:
            raise Retry("the API does not know the request; it is asked once more", after=left_s + 0.01)
        return ""

    def _model(self, stream: str) -> Mapping[str, Any]:
        return read_model.read(self._scripts.redis, stream)


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry; in the lane that waits for the API anyway."""
    policy = AttemptPolicy(give_up_s=PATIENCE_S)
    return RegisteredAction(NAME, (DESTROYED,), function, DOCUMENTS, 60.0, policy=policy)
