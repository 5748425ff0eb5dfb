"""A system that actions tell something, as a test stands in for it."""

from __future__ import annotations

import asyncio


class Crm:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.bills: list[int] = []
        self.keys: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def bill(self, amount: int) -> None:
        self.bills.append(amount)

    def knows(self, key: str) -> bool:
        return key in self.keys

    def bill_once(self, key: str) -> None:
        self.keys.append(key)
        self.bills.append(1)

    async def note_slowly(self, text: str) -> None:
        await asyncio.sleep(0.01)
        self.notes.append(text)

    def fail(self) -> None:
        raise ConnectionError
