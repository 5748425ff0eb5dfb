"""The promises, checked on what a schedule left behind: every broken one as a sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from deedbox.shared.archives.stream_archive import StreamArchive
from deedbox.shared.core.attempts import WAKE_S
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.core.gaps import proven
from deedbox.shared.core.signature import Trust
from deedbox.shared.records import timeline_line
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import keys
from deedbox.workers.builtins.reconcile import NAME as RECONCILE
from tests.simulation.acts import GIVE_UP_S, INTERNAL
from tests.simulation.rest import left
from tests.simulation.traffic import P
from tests.simulation.world import QUOTA, World


def broken(world: World) -> list[str]:
    """Return the laws that a finished schedule broke; empty for a good one."""
    failures = list(world.scheduler.failures)
    if failures:
        return failures  # it did not come to an end, so the rest would be noise
    evidence = _Evidence(world)
    return [
        *world.journal.broken,
        *_at_rest(world),
        *_nothing_lost(world, evidence),
        *_in_order(evidence),
        *_once(world, evidence),
        *_patient(evidence),
        *_looked_for_gaps(world, evidence),
        *_as_released(world, evidence),
        *_erased(world, evidence),
        *_kept(world, evidence),
        *_bounded(world, evidence),
        *_best_body(world, evidence),
        *_synthesised(world, evidence),
        *_counted(world, evidence),
    ]


class _Evidence:
    """What Redis holds at the end."""

    def __init__(self, world: World) -> None:
        server = world.server
        prefix = "timeline:"
        self.timelines: dict[str, list[dict[str, Any]]] = {
            name.removeprefix(keys.PREFIX + prefix): [
                line
                for each in server.execute("LRANGE", name, 0, -1)
                for line in timeline_line.load(each) or ()
            ]
            for name in server.names(prefix + "*")
        }
        self.archives: dict[str, StreamArchive] = {}
        for name in server.names("archive:*"):
            stream = name.removeprefix(keys.archive(""))
            archive = StreamArchive.load(server.execute("GET", name))
            assert isinstance(archive, StreamArchive), f"{name} cannot be read"
            self.archives[stream] = archive
            earlier = [line for each in archive.timeline for line in timeline_line.load(each) or ()]
            self.timelines[stream] = earlier + self.timelines.get(stream, [])
        self.letters: list[dict[bytes, bytes]] = [
            server.execute("HGETALL", keys.dead(number))
            for number in server.texts("ZRANGE", keys.DEAD, 0, -1)
        ]
        counters: dict[bytes, bytes] = server.execute("HGETALL", keys.COUNTERS)
        self.counters = Counter({name.decode(): int(count) for name, count in counters.items()})

    def released(self, stream: str) -> list[dict[str, Any]]:
        """Return the releases of a stream, in order."""
        return [line for line in self.timelines.get(stream, ()) if line["kind"] in {"released", "late"}]


def _at_rest(world: World) -> Iterator[str]:
    for name, size in left(world.server).items():
        yield f"rest: {name} still holds {size}"


def _nothing_lost(world: World, evidence: _Evidence) -> Iterator[str]:
    released = Counter(line["event"] for stream in evidence.timelines for line in evidence.released(stream))
    erased = world.erased.stream if world.erased else ""
    facts = {
        each.fingerprint: each for each, _ in world.deliveries if each.fingerprint and each.stream != erased
    }
    genuine = {each.fingerprint for each, _ in world.deliveries if not each.forged}
    stood_for = {
        line["event"]
        for lines in evidence.timelines.values()
        for line in lines
        if line.get("of") == "reconciled"
    }
    for fingerprint, sent in facts.items():
        if released[fingerprint] == 0 and fingerprint in genuine - stood_for:
            yield f"P2 lost: {sent.event_type} of {sent.stream} ({fingerprint}) was never released"
        if released[fingerprint] > 1:
            yield f"P4 once: {sent.event_type} of {sent.stream} was released {released[fingerprint]} times"
    raws = {letter.get(b"raw", b"") for letter in evidence.letters}
    for sent, message in world.deliveries:
        if not sent.fingerprint and message not in raws:
            yield f"P2 lost: undecodable {sent.body!r} has no dead letter"
    counts = evidence.counters
    good = sum(1 for each, _ in world.deliveries if each.fingerprint)
    if counts["arrived"] < good or (world.harmless and counts["arrived"] != good + world.appended.total()):
        yield f"P2 counted: {good} callbacks were delivered, {counts['arrived']} arrived"
    ends = ("released", "late", "duplicate", "erased", "flooded")
    if counts["arrived"] != sum(counts[each] for each in ends):
        yield f"P2 counted: arrivals are not releases and duplicates: {dict(counts)}"


def _in_order(evidence: _Evidence) -> Iterator[str]:
    for stream in evidence.timelines:
        if stream.partition(":")[2].startswith("type/"):
            continue  # events without an id have no order
        greatest: list[Any] = []
        for line in evidence.released(stream):
            behind = bool(greatest) and line["position"] < greatest
            if behind != (line["kind"] == "late"):
                yield f"P3 order: {line['type']} of {stream} was released as {line['kind']}, behind: {behind}"
            if not behind:
                greatest = line["position"]


def _once(world: World, evidence: _Evidence) -> Iterator[str]:
    """Every (event, action) ends exactly once: done with an effect, or as a dead letter."""
    done: Counter[tuple[str, str]] = Counter()
    noted = 0
    for lines in evidence.timelines.values():
        for line in lines:
            if line["kind"] == "action":
                done[line["action"], line["event"]] += 1
                noted += (line["action"], line["type"]) == ("steady", P + "signed")
    dead = Counter(
        (letter[b"action"].decode(), letter[b"event"].decode())
        for letter in evidence.letters
        if b"action" in letter and b"event" in letter
    )
    wanted = {
        (action.name, line["event"])
        for stream in evidence.timelines
        for line in evidence.released(stream)
        for action in world.subscribed[line["generation"]].subscribed(line["type"])
    }
    effects = set(world.journal.effects)
    internal = {pair for pair in done if pair[0] == "noting"}
    looks = {pair for pair in {*done, *dead} if pair[0] == RECONCILE}
    if len(internal) != noted:
        yield f"P4 once: {noted} internal events {INTERNAL} were emitted, {len(internal)} were acted on"
    for pair in sorted(wanted | set(done) | set(dead)):
        if done[pair] + dead[pair] != 1:
            yield f"P4 once: {pair} was done {done[pair]} times and died {dead[pair]} times"
        if done[pair] and pair not in effects:
            yield f"P2 lost: {pair} counts as done without an effect"
        if pair not in wanted | internal | looks:
            yield f"P4 once: {pair} was never dispatched, and ended"
    keyed = {call.idempotency_key for call in world.journal.calls if not _is_of_erased(world, call.unit)}
    if keyed - {f"{fingerprint}:{action}" for action, fingerprint in wanted | internal | looks}:
        yield "P4 key: an action was called with another idempotency key"


def _patient(evidence: _Evidence) -> Iterator[str]:
    """Check that a call which is given up has itself asked to wait for so long: a pause or a crash does not count."""
    for lines in evidence.timelines.values():
        waited: defaultdict[tuple[str, str], float] = defaultdict(float)
        for line in lines:
            if line["kind"] not in {"retry", "dead"} or "took_s" not in line:
                continue
            call = line["action"], line["event"]
            waited[call] += line["took_s"] + WAKE_S + line.get("next_at", line["at"]) - line["at"]
            if line.get("reason") == "retry_expired" and waited[call] < GIVE_UP_S:
                yield f"P2 kept: {call} was given up after {waited[call]:.1f} s"


def _is_of_erased(world: World, unit: str) -> bool:
    return world.erased is not None and unit.split("|")[1:2] == [world.erased.stream]


def _erased(world: World, evidence: _Evidence) -> Iterator[str]:
    """Nothing of an erased request is left, whatever was under way; a tombstone stands."""
    if world.erased is None:
        return
    subject, server = world.erased, world.server
    if not server.has(keys.erased(subject.stream)):
        yield "erasure: there is no tombstone"
    for name in server.names(f"*{subject.stream}*"):
        if name != keys.erased(subject.stream):
            yield f"erasure: {name} is left"
    if server.execute("HEXISTS", keys.PAUSED, f"request|{subject.stream}"):
        yield "erasure: the request's pause is left"
    for name in server.names("event:*"):
        stored = stored_at(server, name)
        if not stored or stored.stream == subject.stream:
            yield f"erasure: {name} is left"
    for letter in evidence.letters:
        unit = letter.get(b"unit", b"").decode()
        if letter.get(b"key") == subject.ordering_key.encode() or _is_of_erased(world, unit):
            yield f"erasure: dead letter {letter[b'id'].decode()} is left"


def stored_at(server: Any, name: str) -> StoredEvent | Unreadable:
    """Read a stored event."""
    flat = server.execute("HGETALL", name)
    return StoredEvent.load(
        "", flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    )


def _kept(world: World, evidence: _Evidence) -> Iterator[str]:
    """Check that an event lives as long as something waits for it: at the end only dead letters do."""
    letters = Counter(letter[b"event"].decode() for letter in evidence.letters if b"event" in letter)
    for letter in evidence.letters:
        if letter[b"reason"] == b"event_missing":
            yield f"P2 kept: the event of {letter.get(b'unit')!r} was gone before its call"
    for name in world.server.names("event:*"):
        fingerprint = name.removeprefix(keys.event(""))
        waiting = int(world.server.execute("HGET", name, "open") or 0)
        if waiting != letters[fingerprint]:
            yield f"P2 kept: {name} counts {waiting} that wait for it, and {letters[fingerprint]} do"
        if (world.server.execute("TTL", name) == -1) != (waiting > 0):
            yield f"P9 bounded: {name} with {waiting} that wait for it has the wrong end"
    for event in letters:
        if not world.server.has(keys.event(event)):
            yield f"P2 kept: the event {event} of a dead letter is gone"


def _bounded(world: World, evidence: _Evidence) -> Iterator[str]:
    """Check what an adversary who knows one hash has stored, and that one letter counts what was dropped."""
    signed = {each.fingerprint for each, _ in world.deliveries if not each.forged}
    synthesised = {
        line["event"]
        for stream in evidence.timelines
        for line in evidence.released(stream)
        if line["event"] not in signed
    }
    invented = {each.fingerprint for each, _ in world.deliveries if each.forged} & synthesised
    # Sequencers that work side by side read the count before any of them has written.
    if len(invented) > QUOTA.facts * world.size.sequencers:
        yield f"P8 bounded: one hash made {len(invented)} facts"
    for stream in evidence.timelines:
        archived = (
            [name.decode() for name in evidence.archives[stream].seen] if stream in evidence.archives else []
        )
        names = {*archived, *world.server.texts("ZRANGE", keys.seen(stream), 0, -1)}
        kept = [each for each in names if ":" in each]
        for fact, count in Counter(each.partition(":")[0] for each in kept).items():
            # A body that a better one replaced is kept beside those: from disputed to claimed to attested, two at most.
            if count > QUOTA.bodies + 2:
                yield f"P8 bounded: {count} other bodies of {fact} are kept"
    floods = [letter for letter in evidence.letters if letter[b"reason"] == b"flooded"]
    if len(floods) > 1:
        yield f"P8 bounded: {len(floods)} dead letters about one flood"
    if sum(int(letter[b"count"]) for letter in floods) != evidence.counters["flooded"]:
        yield f"P8 counted: {evidence.counters['flooded']} were dropped, the letter says otherwise"


def _best_body(world: World, evidence: _Evidence) -> Iterator[str]:
    """Check that a better body wins: before the release for every call, and after it for whoever reads the event."""
    before: dict[str, Trust] = {}
    ever: dict[str, Trust] = {}
    for lines in evidence.timelines.values():
        for line in lines:
            if line["kind"] == "arrived" and not (line.get("origin") and line["event"] in ever):
                level, event = Trust.named(line["trust"]), line["event"]
                ever[event] = max(level, ever.get(event, level))
            elif line["kind"] in {"released", "late"}:
                before[line["event"]] = ever[line["event"]]
    for call in world.journal.calls:
        best = before.get(call.fingerprint)
        if best is not None and Trust.named(call.trust) < best:
            yield f"P8 trust: {call.action} got a {call.trust} body of {call.fingerprint}, and a {best.word} one had come"
    for letter in evidence.letters:
        event = letter.get(b"event", b"").decode()
        stored = stored_at(world.server, keys.event(event))
        if event in ever and stored and stored.trust != ever[event]:
            yield f"P8 trust: {event} is stored as {stored.trust.word}, and a {ever[event].word} body has come"


def _looked_for_gaps(world: World, evidence: _Evidence) -> Iterator[str]:
    """Check that looks that were asked for happen, and that each asks once, however many sweepers there are."""
    ended = {
        (stream, line["event"])
        for stream, lines in evidence.timelines.items()
        for line in lines
        if line["kind"] in {"action", "dead"} and line.get("action") == RECONCILE
    }
    filed = evidence.counters["gap_suspected"]
    # Of an erased request no timeline tells what became of its looks.
    if len(ended) != filed and world.erased is None:
        yield f"gaps: {filed} looks found something, {len(ended)} were reconciled"
    for stream in evidence.timelines:
        asking = [line for line in evidence.released(stream) if line["type"] in _COMPLETE]
        looks = sum(1 for each, _ in ended if each == stream)
        if asking and not looks:
            yield f"gaps: {stream} is complete, and nobody looked for its document"
        if not asking and looks > len(evidence.released(stream)):
            yield f"gaps: {stream} was looked at {looks} times"


_COMPLETE = frozenset({P + "all_signed", P + "downloadable"})


def _as_released(world: World, evidence: _Evidence) -> Iterator[str]:
    """Ordered actions see the order of release, and a crash repeats no earlier event after a later one."""
    place = {
        line["event"]: (number, line["kind"] == "late")
        for stream in evidence.timelines
        for number, line in enumerate(evidence.released(stream))
    }
    reached: dict[str, int] = {}
    for call in world.journal.calls:
        if call.fingerprint not in place:
            continue
        number, late = place[call.fingerprint]
        if call.late != late:
            yield f"P3 late: {call.action} saw late={call.late} for {call.fingerprint}"
        if number < reached.get(call.unit, 0):
            yield f"P3 order: {call.unit} was called for release {number} after {reached[call.unit]}"
        reached[call.unit] = max(number, reached.get(call.unit, 0))


def _synthesised(world: World, evidence: _Evidence) -> Iterator[str]:
    """Where lost events were synthesised, each event is released once: that of the API, or its callback."""
    forged = {each.stream for each, _ in world.deliveries if each.forged}
    spared = forged | ({world.erased.stream} if world.erased else set())
    for stream in world.appended.keys() - spared:
        names = Counter(_name(line["type"], line["position"][2]) for line in evidence.released(stream))
        for event in proven(world.shown[stream], has_document=True):
            if names[event.name] != 1:
                yield f"P4 synthesised: {event.name} of {stream} was released {names[event.name]} times"


def _counted(world: World, evidence: _Evidence) -> Iterator[str]:
    """Check that the read model holds what was done, each call once, and what another process wrote meanwhile."""
    erased = world.erased.stream if world.erased else ""
    if world.acts.tracking is not None:
        yield from world.acts.tracking.broken(world.server, evidence.timelines, evidence.archives, erased)


def _name(event_type: str, signature: str) -> str:
    return f"{event_type}|{signature if event_type in {P + 'viewed', P + 'signed'} else ''}"
