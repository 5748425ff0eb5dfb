"""A dummy program: notes in a journal file when it starts, is interrupted and ends.

``journalist.py JOURNAL NAME [--last-words SECONDS] [--redis URL] [--deaf] [--silent] [--exit STATUS] [--child]``
``[--importer]``
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

IMPORTED_BY: Final = os.getpid()


def leave_behind(note: Callable[[str], None]) -> None:
    """Fork a child that ends once its parent has."""
    parent = os.getpid()
    if os.fork():
        note("has a child")
        return
    while os.getppid() == parent:
        time.sleep(0.02)
    note("left a child that ended")
    os._exit(0)


def program() -> None:
    """Live until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("name")
    parser.add_argument("--last-words", type=float, default=0.0)
    parser.add_argument("--redis")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--importer", action="store_true")
    options = parser.parse_args()

    def note(what: str) -> None:
        with options.journal.open("a", encoding="utf-8") as journal:
            journal.write(f"{options.name} {what} {os.getpid()}\n")

    stop = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.deaf else lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: note("interrupted"))
    note("started")
    if options.importer:
        note(f"was imported by {IMPORTED_BY}")
    if not options.silent:
        sys.stdout.write(f"{options.name} says {os.environ.get('GREETING', 'nothing')}\n")
        sys.stdout.flush()
    if options.child:
        leave_behind(note)
    if options.exit is not None:
        os._exit(options.exit)
    while not stop.wait(0.05):
        pass
    time.sleep(options.last_words)
    if options.redis:
        import redis

        with redis.Redis.from_url(options.redis) as client:
            client.rpush("last-words", options.name)
        note("wrote")
    note("ended")


if __name__ == "__main__":
    program()
