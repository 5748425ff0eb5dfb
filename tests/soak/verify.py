"""The second program: ``python -m tests.soak.verify DIR`` proves from the files of a soak that every promise held.

It talks to nothing that ran: the sender's ledger, the journal of kills, the record of the calls, the
timelines and the documents on the disk are compared with each other. Exit code 0: no problem was found.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deedbox.ops.demo.evidence import SOURCE, RecordedCall
from deedbox.ops.demo.report import dispatched_twice, out_of_order
from deedbox.shared.simulator.lifecycle import SimulatedFact
from tests.soak import hanging, moving, moving_proof
from tests.soak.plan import CUT, CUT_OFF_S, OFF
from tests.soak.small_disk import FULL_S

WORKER_SLACK_S: Final = 1.0
"""A call that was under way when its process was killed may have written its line a moment after."""

REDIS_SLACK_S: Final = FULL_S + 5.0
"""A Redis that is killed is away for seconds: effects of that time are committed, or repeated, afterwards."""

_ENDS_REDIS: Final = frozenset({"redis", "disk"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a soak left."""

    sent: Mapping[str, Any]
    state: Mapping[str, Any]
    kills: Sequence[Mapping[str, Any]]
    calls: Sequence[tuple[float, RecordedCall]]
    """Time (unix seconds) and call, in the order of the record."""
    moves: Sequence[str]
    """Begins and ends of the calls of the action that moves between lanes, in the order of their record."""
    documents: Path

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """Read a soak's directory. Raises OSError, ValueError or KeyError for one that is not complete."""
        data = folder / "data"
        record = (folder / "record.jsonl").read_text(encoding="utf-8").splitlines()
        return cls(
            sent=json.loads((folder / "sent.json").read_text(encoding="utf-8")),
            state=json.loads((folder / "state.json").read_text(encoding="utf-8")),
            kills=[json.loads(line) for line in (folder / "kills.jsonl").read_text("utf-8").splitlines()],
            calls=[(json.loads(line)["at"], RecordedCall.parse(line)) for line in record],
            moves=moving.record_file(folder).read_text("utf-8").splitlines(),
            documents=data / "documents" / SOURCE,
        )

    def facts(self) -> list[tuple[float, RecordedCall]]:
        """Return the calls for the sender's events, without those that Deedbox emitted."""
        return [(at, call) for at, call in self.calls if not call.internal]


@dataclass(slots=True)
class Findings:
    """The verdict."""

    lost: int = 0
    twice: int = 0
    repeated: int = 0
    unexplained: int = 0
    """Repeats without a crash before them."""
    violations: int = 0
    documents: int = 0
    leftovers: int = 0
    """Temporary files that killed writers left; no reader takes them for a document."""
    problems: list[str] | None = None


def verify(evidence: Evidence) -> Findings:
    """Compare all sides."""
    findings = Findings(problems=[])
    problems = [
        *_of_settling(evidence),
        *_of_loss(evidence, findings),
        *_of_dispatch(evidence, findings),
        *_of_order(evidence, findings),
        *moving_proof.problems(evidence.moves, evidence.sent["facts"], evidence.state["dead"]),
        *_of_documents(evidence, findings),
    ]
    findings.problems = problems
    return findings


def _of_settling(evidence: Evidence) -> Iterable[str]:
    sent, state = evidence.sent, evidence.state
    if state["unfinished"]:
        yield f"not finished in time: {state['unfinished']}"
    if sent["forgeries_acked"]:
        yield f"{sent['forgeries_acked']} forged callbacks were acknowledged"
    for letter in [each for each in state["dead"] if each.get("action") != hanging.NAME][:5]:
        yield f"dead letter: {letter.get('reason')} ({letter.get('detail', '')})"


def _of_loss(evidence: Evidence, findings: Findings) -> Iterable[str]:
    """Check P2: every acknowledged fact reached the action or is a dead letter, every acknowledged copy arrived."""
    recorded = {call.fact for _, call in evidence.facts()}
    buried = {letter.get("event") for letter in evidence.state["dead"]}
    for *fact, fingerprint, _acks in evidence.sent["facts"]:
        if SimulatedFact(*fact) not in recorded and fingerprint not in buried:
            findings.lost += 1
    if findings.lost:
        yield f"{findings.lost} acknowledged facts never reached the action"
    if evidence.state["forgotten"]:
        yield f"{evidence.state['forgotten']} acknowledged facts are not stored"
    counters = evidence.state["counters"]
    arrived = counters.get("arrived", 0)
    if arrived < evidence.sent["acked"]:
        yield f"{evidence.sent['acked']} callbacks were acknowledged, but {arrived} arrived"
    settled = sum(counters.get(name, 0) for name in ("released", "late", "duplicate"))
    if arrived != settled:
        yield f"{arrived} callbacks arrived, but {settled} were released or duplicates"


def _of_dispatch(evidence: Evidence, findings: Findings) -> Iterable[str]:
    """Check P4: one release and one idempotency key per fact, and a second call only after a crash."""
    findings.twice = dispatched_twice(call for _, call in evidence.facts())
    if findings.twice:
        yield f"{findings.twice} facts were dispatched under two idempotency keys"
    released = sum(count > 1 for count in evidence.state["released"].values())
    if released:
        yield f"{released} facts were released more than once"
    last: dict[str, float] = {}
    for at, call in evidence.calls:
        before = last.get(call.idempotency_key)
        last[call.idempotency_key] = at
        if before is not None:
            findings.repeated += 1
            findings.unexplained += not _crashed_between(evidence.kills, before, at)
    if findings.unexplained:
        yield f"{findings.unexplained} calls were repeated without a crash"


def _crashed_between(kills: Sequence[Mapping[str, Any]], first: float, again: float) -> bool:
    return any(first - _slack_s(kill) < kill["at"] < again for kill in kills)


def _slack_s(kill: Mapping[str, Any]) -> float:
    """Return how long after this a call may be made of which the record of its outcome is lost; it is made again."""
    if kill["signal"] in {CUT, OFF}:
        return CUT_OFF_S + WORKER_SLACK_S
    if kill["target"] in _ENDS_REDIS:
        return REDIS_SLACK_S
    return WORKER_SLACK_S if (kill["target"], kill["signal"]) == ("default", "KILL") else float("-inf")


def _of_order(evidence: Evidence, findings: Findings) -> Iterable[str]:
    """Check P3 on each event's first call; a repeat after a crash goes back, and then on from there without a gap."""
    calls = [call for _, call in evidence.facts()]
    first: dict[str, RecordedCall] = {}
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    now: dict[str, int] = {}
    gaps = 0
    for call in calls:
        first.setdefault(call.idempotency_key, call)
        of_key = numbers[call.key]
        number = of_key.setdefault(call.idempotency_key, len(of_key))
        gaps += number > now.get(call.key, -1) + 1
        now[call.key] = number
    below = len(out_of_order(first.values()))
    findings.violations = below + gaps
    if below:
        yield f"{below} calls came out of order, or are flagged late although they were not"
    if gaps:
        yield f"{gaps} repeated calls left out a neighbour"


def _of_documents(evidence: Evidence, findings: Findings) -> Iterable[str]:
    """Check that every final document is there, whole, described, and announced."""
    told = {(call.signature_request_id, call.sha256) for _, call in evidence.calls if call.sha256}
    for request_id, digest in evidence.sent["documents"].items():
        trouble = _trouble_of(evidence.documents / request_id, digest)
        if not trouble and (request_id, digest) not in told:
            trouble = "was not announced to an action"
        if trouble:
            yield f"the document of {request_id} {trouble}"
        else:
            findings.documents += 1
    findings.leftovers = sum(1 for _ in evidence.documents.glob("*/.*.tmp"))
    strange = {path.name for path in evidence.documents.glob("*")} - evidence.sent["documents"].keys()
    if strange:
        yield f"{len(strange)} requests without a final document have one"


def _trouble_of(folder: Path, digest: str) -> str:
    try:
        (document,) = folder.glob("*.pdf")
        (sidecar,) = folder.glob("[!.]*.json")
        facts = json.loads(sidecar.read_bytes())
        content = hashlib.sha256(document.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        return f"is missing, doubled or not described ({type(error).__name__})"
    whole = content == digest == document.stem == sidecar.stem == facts.get("sha256")
    return "" if whole and facts.get("version") == "current" else "is not the final one, or not whole"


def figures(evidence: Evidence, findings: Findings) -> dict[str, Any]:
    """Return what the closing lines show."""
    sent, statuses = evidence.sent, evidence.sent["statuses"]
    kills = Counter(f"{kill['target']} {kill['signal']}" for kill in evidence.kills)
    return {
        "seconds": sent["seconds"],
        "seed": sent["seed"],
        "broker": "rabbitmq" if sent["rabbitmq"] else "redis",
        "callbacks": sent["callbacks"],
        "attempts": sent["attempts"],
        "acked": sent["acked"],
        "facts": len(sent["facts"]),
        "answered 503": statuses.get("503", 0),
        "no answer": statuses.get("None", 0),
        "forgeries refused": sent["refused"],
        "given up by the sender": sent["given_up"],
        "kills": len(evidence.kills),
        "kills by process": dict(sorted(kills.items())),
        "replicas": sent["replicas"],
        "calls of the action that moves": len(evidence.moves) // 2,
        "lost": findings.lost,
        "twice, other key": findings.twice,
        "twice, same key, after a crash": findings.repeated - findings.unexplained,
        "twice without a crash": findings.unexplained,
        "order violations": findings.violations,
        "late": evidence.state["counters"].get("late", 0),
        "duplicates": evidence.state["counters"].get("duplicate", 0),
        "documents whole": f"{findings.documents} of {len(sent['documents'])}",
        "temporary files left": findings.leftovers,
        "calls that never returned": sum(
            each.get("action") == hanging.NAME for each in evidence.state["dead"]
        ),
        "ack p50 ms": round(sent["ack_p50_ms"], 1),
        "ack p99 ms": round(sent["ack_p99_ms"], 1),
    }


def main(arguments: list[str]) -> int:
    """Verify a soak's directory, print figures and problems; returns 0 if there are none, 2 for wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.soak.verify DIR\n")
        return 2
    evidence = Evidence.read(Path(arguments[0]))
    findings = verify(evidence)
    for name, value in figures(evidence, findings).items():
        sys.stdout.write(f"{name:<32} {value}\n")
    for problem in findings.problems or ():
        sys.stdout.write(f"PROBLEM: {problem}\n")
    sys.stdout.write("Every promise held.\n" if not findings.problems else "A promise was broken.\n")
    return 1 if findings.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
