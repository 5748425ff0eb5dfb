"""``deedbox simulate``: plays Dropbox Sign against any ingress, and serves its files API if asked to."""

from __future__ import annotations

import json
import math
import random
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console

from deedbox.ops.demo import view
from deedbox.ops.wording.output import counted
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.runtime import stopping
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.ledger import Counts, Ledger
from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.player import Player, PlayerPolicy
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.traffic import Delivery, TrafficPolicy, schedule

_INTERRUPTED: Final = 130
_LIFE: Final = LifecyclePolicy(begins_at=0)


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What the command line says; times in seconds."""

    url: str
    requests: int = 20
    rate_per_s: float = 20.0
    delay_s: float = 2.0
    """Mean delay of the share of callbacks that comes late or twice."""
    seed: int | None = None
    api_key: str | None = None
    """None: the first key of source ``default`` in the settings."""
    api_port: int | None = None
    """Port of the files API; None: it is not served."""
    stay_s: float = 60.0
    """How long the files API is served after the last callback."""
    ladder_scale: float = 0.001
    json: bool = False


def run(options: SimulateOptions, environ: Mapping[str, str]) -> int:
    """Play; returns the exit code: 0 if all genuine callbacks were acknowledged and no forged one, else 1.

    Stopped by Ctrl-C before the last callback it reports what it did and returns 130. Raises SettingsError for
    a missing key, DeedboxError for an unusable URL or port.
    """
    if re.match(r"https?://[^/\s]", options.url) is None:
        raise DeedboxError("--url is no URL; it looks like http://127.0.0.1:8000/callbacks.")
    console = Console(stderr=options.json)
    account = Account(api_key=options.api_key or first_key(environ))
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    files_api = FilesApi(account, FilesApiPolicy(seed=seed), callback_url=options.url)
    stop = threading.Event()
    with _stopped_by_signals(stop):
        if options.api_port is not None:
            _serve(files_api, options.api_port, console)
        try:
            ledger = _play(options, account, seed, files_api, stop, console)
            interrupted = stop.is_set()
            _tell(options, seed, ledger, console)
            if options.api_port is not None and not interrupted and options.stay_s > 0:
                _say(console, f"The files API stays for {options.stay_s:g} s, or until Ctrl-C.")
                stop.wait(options.stay_s)
        finally:
            files_api.stop()
    if interrupted:
        return _INTERRUPTED
    return 0 if _all_settled(ledger.counts()) else 1


def first_key(environ: Mapping[str, str]) -> str:
    """Return the key that signs. Raises SettingsError."""
    try:
        return Settings.load(environ).sources()["default"].api_keys[0]
    except SettingsError as error:
        raise SettingsError(f"{error} Or name a key with --api-key.") from None


def _serve(files_api: FilesApi, port: int, console: Console) -> None:
    # Asked here, because the server library ends the process when the port is taken.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            raise DeedboxError(
                f"--api-port {port} cannot be had ({error.strerror}); choose another, or 0 for a free one."
            ) from None
    files_api.start(port)
    _say(console, f"The files API listens: set DEEDBOX_API_URL={files_api.url} for the workers.")


def _play(
    options: SimulateOptions,
    account: Account,
    seed: int,
    files_api: FilesApi,
    stop: threading.Event,
    console: Console,
) -> Ledger:
    deliveries = draw(options, account, seed)
    policy = PlayerPolicy(ladder_scale=options.ladder_scale)
    with view.meter(console) as meter:
        meter.phase(f"Playing to {options.url}", len(deliveries))

        def show(counts: Counts) -> None:
            settled = counts.acked + counts.refused + counts.forgeries_acked + counts.failed
            detail = view.so_far(counts.acked, counts.refused)
            if counts.attempts > counts.sent and not counts.acked:
                detail += "; nothing is acknowledged, is the signing key (--api-key) one of the receiver's?"
            meter.step(settled, detail)

        player = Player(options.url, account.api_key, policy, on_occurred=files_api.advance, on_progress=show)
        return player.play(deliveries, stop)


def draw(options: SimulateOptions, account: Account, seed: int) -> list[Delivery]:
    """Draw the deliveries; all their events have happened by now."""
    rng = random.Random(seed)  # noqa: S311 - reproducible traffic, not cryptography
    begins_at = int(time.time()) - _LIFE.spread_s - _LIFE.life_s - 2
    requests = generate_requests(options.requests, account, rng, LifecyclePolicy(begins_at, marked=True))
    traffic = TrafficPolicy(
        rate_per_s=options.rate_per_s,
        duplicate_delay_mean_s=options.delay_s,
        disorder_delay_mean_s=options.delay_s,
    )
    return schedule(requests, account, rng, traffic)


def _all_settled(counts: Counts) -> bool:
    return not (counts.failed or counts.unfinished or counts.forgeries_acked)


def report(seed: int, ledger: Ledger) -> dict[str, Any]:
    """Return the object that ``simulate --json`` prints; latencies in milliseconds."""
    counts = ledger.counts()
    latencies_s = ledger.latencies_s()
    return {
        "sent": counts.sent,
        "acked": counts.acked,
        "refused": counts.refused,
        "failed": counts.failed,
        "unfinished": counts.unfinished,
        "forgeries_acked": counts.forgeries_acked,
        "attempts": counts.attempts,
        "p50_ms": quantile_ms(latencies_s, 0.5),
        "p99_ms": quantile_ms(latencies_s, 0.99),
        "duration_s": round(ledger.duration_s, 1),
        "seed": seed,
    }


def quantile_ms(sorted_s: Sequence[float], share: float) -> float | None:
    """Return a quantile of sorted seconds in milliseconds: the smallest that ``share`` of all do not exceed."""
    if not sorted_s:
        return None
    return round(sorted_s[max(0, math.ceil(share * len(sorted_s)) - 1)] * 1000, 2)


def _tell(options: SimulateOptions, seed: int, ledger: Ledger, console: Console) -> None:
    found = report(seed, ledger)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        return
    _say(
        console,
        f"{counted(found['sent'], 'callback')} sent in {found['duration_s']} s (seed {seed}, {found['attempts']} POSTs): "
        f"{view.so_far(found['acked'], found['refused'])}, {found['failed']} failed, "
        f"{found['unfinished']} unfinished.",
    )
    if (found["failed"] or found["unfinished"]) and not found["acked"]:
        _say(
            console,
            "Nothing was acknowledged: is --url right, and is the signing key (--api-key) one of the receiver's "
            "DEEDBOX_API_KEYS? Its log line event.received has the reason.",
        )
    if found["forgeries_acked"]:
        _say(
            console,
            f"{found['forgeries_acked']} forged callbacks were acknowledged: is the signature checked?",
        )
    if found["p50_ms"] is not None:
        _say(console, f"Time to an acknowledgement: p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms.")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the play in order, so that its report is still there."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stopping.ask(stop))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
