from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAITING = """
import signal, sys, threading
from deedbox.shared.runtime import stopping

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.ask(stop))
print("waiting", flush=True)
while not stop.wait(0):
    pass
"""


@pytest.mark.parametrize("_attempt", range(4))
def test_a_signal_that_comes_while_its_event_is_looked_at_ends_the_process(_attempt: int) -> None:
    """With ``stop.set`` as the handler every other of these hangs: the looking thread holds the event's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
