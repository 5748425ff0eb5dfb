"""The Redis keyspace: every key that Deedbox writes, in one table.

Owner: the process that creates it. Lives: how it ends. ``<stream>`` is ``source:ordering key``, ``<unit>`` is
``action|stream`` (ordered) or ``action|stream|fingerprint`` (unordered). All names start with ``deedbox:`` except the broker's list and RQ's own keys. The two retentions are
settings (``deedbox.shared.retention``).

==============================  ======  =========  =====================  ====================================
key                             type    owner      lives                  meaning
==============================  ======  =========  =====================  ====================================
deedbox.raw                     list    ingress    until claimed          kombu's queue of raw callbacks, on
                                                                          the broker's Redis, newest left
bridge:leases                   zset    bridge     a day                  bridge id -> end of its lease: on the
                                                                          state's Redis, for status, and on the
                                                                          broker's, for its claims
bridge:claimed:<id>             list    bridge     until appended         callbacks claimed, not yet appended
bridge:batch:<id>               string  bridge     a day                  digest of the batch appended last: the same
                                                                          batch again is confirmed, not written
probe:<trace id>                string  bridge     a minute               a test message of ``check`` came through
bridge:brokers                  hash    bridge     a month                each separate broker that a bridge was
                                                                          started for, without secrets -> unix s
inbox:<shard>                   list    bridge     until drained          callbacks: arrival time, envelope
action:<action>:ready           zset    all        until leased           unit -> since when it is ready
action:<action>:leased          zset    worker     until finished         unit -> end of its lease
action:<action>:tokens          hash    worker     until finished         unit -> fencing token of its lease
action:<action>:waiting         zset    worker     until due              unit whose head waits -> when due
action:<action>:parked          zset    worker     until resumed          unit that a pause of its source or request
                                                                          keeps -> number of the pause
action:<action>:calls           list    worker     a window               times of the latest calls, newest first, of
                                                                          an action that has a rate
depths                          hash    all        for good               action -> entries in its queues
shards:ready, shards:leased     zset    sequencer  as above               the same for shards of the inbox
shards:tokens                   hash    sequencer  until finished         shard -> fencing token of its lease
lane:<lane>:idle                zset    worker     seconds                drainer that blocks on the bell -> until
lane:<lane>:bell                list    all        until heard            wakes idle drainers (BLPOP)
subscriptions                   hash    worker     for good               what is subscribed: generation, digest, at
                                                                          (unix s), actions (JSON: name, types, lane,
                                                                          ordered)
limits                          hash    worker     for good               action that has a limit -> its calls at a
                                                                          time, calls per window (0: any), window in s
paused                          hash    ops        until resumed          ``kind|name`` of what is paused -> JSON
                                                                          (``deedbox.shared.pauses``)
pause:seq                       string  ops        for good               number of the last pause
declarations                    zset    worker     100 newest             digest of a declaration -> when a process
                                                                          said it last
queue:<unit>                    list    sequencer  until done             entries: fingerprint + JSON
queued:<stream>                 hash    all        until done             action -> entries that wait about the
                                                                          stream
letters:<ordering key>          set     all        until a person acts    ids of the dead letters about a key
order:<stream>                  string  sequencer  state retention,       the ordering rule's state, JSON
                                                   not while events are
                                                   held
seen:<stream>                   zset    sequencer  as long                fingerprint -> arrival: dedupe memory;
                                                                          also <fingerprint>:<digest> of other
                                                                          bodies, so that erasure finds them
streams                         zset    all        state retention,       stream -> when something was stored about it
                                                   and as long as a key   last: the index of all streams that have a
                                                   of these is there      ``seen``, an ``archive`` or a ``key``;
                                                                          the search looks through it
timeline:<stream>               list    sequencer  state retention        lines for ``trace``: an element is what
                                                                          one commit told
event:<fingerprint>             hash    sequencer  event retention after  one stored event: facts and body in pieces; open:
                                                   its last outcome       queue entries, dead letters and holds
                                                                          that name it; <fingerprint>:<digest>:
                                                                          another body of the same fact
quota:<group>                   hash    sequencer  5 days                 facts and bytes that one event_hash stored;
                                                                          letter: its dead letter, if it is beyond
erased:<stream>                 string  all        state retention after  tombstone: JSON {at, by}; what comes for
                                                   the last repeat        the stream is a duplicate, kept nowhere
quiet                           zset    all        until archived         stream -> since when nothing was written about
                                                                          it: the sweeper archives it after
                                                                          DEEDBOX_ARCHIVE_AFTER_S
archive:<stream>                string  sweeper    as long as what is in  instead of the keys ``order``, ``seen``,
                                                   it                     ``timeline``, ``request``, ``document``,
                                                                          ``finds`` of a quiet stream, and ``event`` of
                                                                          its events: all in one
                                                                          (``deedbox.shared.archives``)
key:<stream>                    hash    worker     state retention,       the data key that seals what is stored about the
                                                   not while an event is  stream: wrapped (by the key ring), id, life
                                                   open; erasure ends it  (seconds), open (references to its events)
ring_keys                       hash    worker     until ``rotate-keys``  id of a key of DEEDBOX_ENCRYPTION_KEYS -> unix s:
                                                   finds nothing of it    something was sealed by it last
wake:<shard>                    zset    sequencer  until looked at        stream with held events -> when
held                            zset    sequencer  until released         fingerprint -> held since
dead                            zset    all        until a person acts    numbers of the dead letters, by time
dead:<id>                       hash    all        until a person acts    one dead letter
dead:seq                        string  all        for good               number of the last dead letter
redrive                         list    ops        until the bridge read  raw messages to decode once more
replay:seq, replay:<n>          string  ops        for good; event        number of replays; one replay's order,
                                                   or until it is whole   JSON: what, which actions
replay:<n>:done                 hash    ops        as long                stream -> position appended last
audit                           list    ops        10,000 newest          what people changed (``deedbox.shared.audit``)
counters                        hash    all        for good               name -> count, for ``status``
calls                           hash    worker     for good               ``lane|action|<outcome>``, ``|le|<bucket>``
                                                                          -> count of calls, ``|us`` -> time
spools                          hash    web        until drained, or       id of a host's spool -> JSON
                                                   ``spool forget``       (``deedbox.shared.records.spool_mark``);
                                                                          silent for 60 s: counts for nothing
intake                          hash    web        until the end,         ``host:pid`` -> JSON: what a web process
                                                   a day if killed        received so far (``deedbox.ingress.monitor.counters``);
                                                                          silent for 60 s: not live any more
sources                         hash    web        for good               ``source|accepted``, ``|spooled``,
                                                                          ``|refused|<reason>`` -> count, and
                                                                          ``|last_accepted_at``, ``|last_test_at``,
                                                                          ``|failures`` -> unix s: the latest up to
                                                                          10 refusals in a row, by commas
evidence:<source>               hash    worker     for good               what callbacks show about Content-Sha256:
                                                                          valid (count), last_valid_at, wrong_at
                                                                          (unix s)
fence                           string  worker     for good               source of fencing tokens
schema                          string  worker     for good               schema version of what is stored here: a
                                                                          start refuses a later one
events                          stream  all        DEEDBOX_EVENTS_KEEP    the clean stream: one entry per released
                                                                          event, references only, in the order
                                                                          of release
events:erased                   zset    all        DEEDBOX_EVENTS_KEEP    numbers of entries that an erasure took
                                                                          out of ``events``, each its own score
events:seq                      string  all        for good               entries ever added to ``events``: shows
                                                                          a reader that it missed some
gaps:due                        zset    sequencer  until looked at        stream of which something may be
                                                                          missing -> when the sweeper looks
confirm:due                     zset    ops        until looked at, or     signature request that an application waits
                                                   10 min                 for and callbacks only claim -> unix s:
                                                                          the sweeper has it read from the API
request:<stream>                string  worker     state retention        read model of one signature request
document:<stream>               string  worker     state retention        what was fetched and stored, JSON
find:<term>                     zset    worker     state retention        id of a request -> when its read model changed last:
                                                                          requests of a state, signature id or pair of
                                                                          metadata; REQUESTS_KEEP newest
finds:<stream>                  hash    worker     state retention        term -> ``state`` or nothing: where the stream
                                                                          is in ``find``
stores                          hash    worker     state retention        document store's id -> JSON {host, path,
                                                                          used_at}: who stored there last
fetching:<stream>               string  worker     minutes                one fetch of a request at a time
api:pause:<account>             string  worker     until reset            the API told us to wait until
budget:<kind>:<account>:calls   list    worker     a minute               times of an account's calls of one kind,
                                                                          newest first
budget:<kind>:<account>:queue   zset    worker     until its turn         ticket -> fruitless tries, then since when
                                                                          (ms): who waits for such a call
budget:<kind>:<account>:groups  hash    worker     10 min                 group of look-ups for unknown requests ->
                                                                          how many have joined the queue
budget:<kind>:<account>:due     zset    worker     as long                ticket -> when its place is lost, because
                                                                          its turn was not taken up
samples                         stream  ops        SAMPLES_KEEP newest    one JSON sample of every stage per 10 s
samples:totals                  string  ops        a day                  counters at the last sample, JSON: the
                                                                          next one is the difference
samples:turn:<slot>             string  ops        a minute               one ops process takes the sample of a
                                                                          slot
alerts                          string  all        for good               what was told and what is gathered for the
                                                                          next message, JSON (``deedbox.workers.builtins.alert_desk``)
callback_url:watched            string  sweeper    15 min                 the callback URLs were just checked
alerts:turn:<digest>            string  ops        2 min                  one ops process sends the alert about a
                                                                          standing fault
restarts                        hash    up         10 min                 ``host/process`` -> JSON: how a process of
                                                                          ``deedbox up`` ended last
                                                                          (``deedbox.shared.records.presence``)
workers                         zset    worker     seconds, or a minute   worker process -> when its last word stops
                                                   if killed              counting
workers:doing                   hash    worker     as long                worker process -> JSON: its lane, what it
                                                                          runs (``deedbox.shared.records.presence``)
lost                            list    sweeper    LOST_KEEP newest       JSON: a call whose process ended without
                                                                          an outcome
foreign_jobs                    hash    worker     10 min                 lane -> jobs in its queue that were no
                                                                          doorbells, and were dropped
foreign                         zset    all        a week                 key of another type than this table says,
                                                                          which was moved away -> when
foreign:<key>                           all        a week                 what it held
foreign:suspected               string  worker     until looked at        some command met such a key: the sweeper
                                                                          looks through all
rq:queue:deedbox.<lane>         list    RQ         until taken            doorbells: RQ jobs, no events in them
==============================  ======  =========  =====================  ====================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PREFIX: Final = "deedbox:"
RAW_QUEUE: Final = "deedbox.raw"
"""Name of the broker queue; on Redis also the name of the list."""

RQ_QUEUE_PREFIX: Final = "deedbox."
"""Before a lane's name, so that an application's own RQ queues in the same Redis never meet ours."""

SEQUENCER: Final = "sequencer"
DOCUMENTS: Final = "documents"
ALERTS_LANE: Final = "alerts"
FANOUT: Final = "fanout"
DESTINATIONS_LANE: Final = "destinations"
"""Of every destination that names no other."""

RESERVED_LANES: Final = frozenset({SEQUENCER, DOCUMENTS, ALERTS_LANE, FANOUT, DESTINATIONS_LANE})
"""In which no action of a user runs: their processes have the secrets of Deedbox's own actions only."""

TIMELINE_KEEP: Final = 500
"""Lines per timeline: a request of 20 signers makes about 200; the cap is against a poisonous loop."""

REQUESTS_KEEP: Final = 10_000
"""Signature requests that a look-up or a search by title finds: the latest ones. One search reads them all."""

SAMPLES_KEEP: Final = 8_640
"""Samples of a day, one per 10 s."""

BRIDGE_BROKERS: Final = PREFIX + "bridge:brokers"
BRIDGE_LEASES: Final = PREFIX + "bridge:leases"
SUBSCRIPTIONS: Final = PREFIX + "subscriptions"
PAUSED: Final = PREFIX + "paused"
WORKERS: Final = PREFIX + "workers"
WORKERS_DOING: Final = PREFIX + "workers:doing"
LOST: Final = PREFIX + "lost"
FOREIGN: Final = PREFIX + "foreign"
FOREIGN_SUSPECTED: Final = PREFIX + "foreign:suspected"
FOREIGN_JOBS: Final = PREFIX + "foreign_jobs"
HELD: Final = PREFIX + "held"
DEAD: Final = PREFIX + "dead"
DEPTHS: Final = PREFIX + "depths"
COUNTERS: Final = PREFIX + "counters"
REDRIVE: Final = PREFIX + "redrive"
SPOOLS: Final = PREFIX + "spools"
EVENTS: Final = PREFIX + "events"
EVENTS_SEQ: Final = PREFIX + "events:seq"
EVENTS_ERASED: Final = PREFIX + "events:erased"
CALLS: Final = PREFIX + "calls"
INTAKE: Final = PREFIX + "intake"
SOURCES: Final = PREFIX + "sources"
QUIET: Final = PREFIX + "quiet"
STREAMS: Final = PREFIX + "streams"
SAMPLES: Final = PREFIX + "samples"
SAMPLES_TOTALS: Final = PREFIX + "samples:totals"
GAPS_DUE: Final = PREFIX + "gaps:due"
CONFIRM_DUE: Final = PREFIX + "confirm:due"
REPLAY_SEQ: Final = PREFIX + "replay:seq"
ALERTS: Final = PREFIX + "alerts"
AUDIT: Final = PREFIX + "audit"
STORES: Final = PREFIX + "stores"
RING_KEYS: Final = PREFIX + "ring_keys"
RESTARTS: Final = PREFIX + "restarts"
SCHEMA: Final = PREFIX + "schema"
CALLBACK_URL_WATCHED: Final = PREFIX + "callback_url:watched"


def _named(start: str) -> Callable[[str | int], str]:
    """Return what makes the name of a key from the id in it. The table above says what each holds."""
    return lambda identifier: f"{PREFIX}{start}:{identifier}"


claimed: Final = _named("bridge:claimed")
bridged: Final = _named("bridge:batch")
probe: Final = _named("probe")
inbox: Final = _named("inbox")
shards: Final = _named("shards")
queue: Final = _named("queue")
queued: Final = _named("queued")
letters: Final = _named("letters")
order: Final = _named("order")
seen: Final = _named("seen")
timeline: Final = _named("timeline")
event: Final = _named("event")
quota: Final = _named("quota")
erased: Final = _named("erased")
archive: Final = _named("archive")
data_key: Final = _named("key")
dead: Final = _named("dead")
replay: Final = _named("replay")
evidence: Final = _named("evidence")
request: Final = _named("request")
document: Final = _named("document")
find: Final = _named("find")
finds: Final = _named("finds")
fetching: Final = _named("fetching")
api_pause: Final = _named("api:pause")
samples_turn: Final = _named("samples:turn")
alert_turn: Final = _named("alerts:turn")


def lane(name: str, part: str) -> str:
    """One of a lane's keys: idle or bell."""
    return f"{PREFIX}lane:{name}:{part}"


def action(name: str, part: str) -> str:
    """One of an action's keys: ready, leased, tokens, waiting, parked or calls."""
    return f"{PREFIX}action:{name}:{part}"


def value(kind: str, stream: str) -> str:
    """Return the key of a stream's order state, read model or document record: kind ``order``, ``request``, ``document``."""
    return f"{PREFIX}{kind}:{stream}"


def replay_done(number: int) -> str:
    """How far a replay came in each stream."""
    return f"{PREFIX}replay:{number}:done"


def budget(kind: str, account: str, part: str) -> str:
    """One of the keys of an account's budget: calls, queue, due or groups."""
    return f"{PREFIX}budget:{kind}:{account}:{part}"


def rq_queue(lane_name: str) -> str:
    """Name of the RQ queue of a lane."""
    return RQ_QUEUE_PREFIX + lane_name
