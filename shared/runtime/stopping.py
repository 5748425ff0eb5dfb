"""Asking a process to stop, from inside a signal handler."""

from __future__ import annotations

import threading


def ask(stop: threading.Event) -> None:
    """Set the event from a thread of its own; for signal handlers.

    A handler runs in the main thread, between two of its steps. If that was just about to wait for the event, it holds
    the event's lock, and ``set`` in the handler would wait for ever for what its own thread holds.
    """
    threading.Thread(target=stop.set, name="stop", daemon=True).start()
