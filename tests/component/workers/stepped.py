"""A process whose commands are counted: something happens before one of them, or the process is killed there.

Every command is one step, those of a pipeline too. A process has no effect but by its commands, so that an end between two of
them is what SIGKILL is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis
from redis.client import Pipeline

T = TypeVar("T")
Act = Callable[[Redis], object]


class Killed(BaseException):
    """The process is gone: none of its later commands is sent."""


class Stepped(Redis):
    """The client of such a process: ``at`` is the number of the command before which ``what`` happens."""

    def __init__(self, redis: Redis, at: int = -1, what: Callable[[], object] = Killed) -> None:
        super().__init__(connection_pool=redis.connection_pool)
        self._at, self._what = at, what
        self.steps = 0
        self.killed = False

    def step(self) -> None:
        """Begin a command."""
        if self.steps == self._at:
            self._what()
            self.killed = self._what is Killed
        if self.killed:
            raise Killed
        self.steps += 1

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self.step()
        run: Callable[..., Any] = super().execute_command
        return run(*args, **options)

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Pipeline:  # noqa: FBT002
        return _SteppedPipeline(self, self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _SteppedPipeline(Pipeline):
    def __init__(self, client: Stepped, pool: Any, callbacks: Any, transaction: Any, shard_hint: Any) -> None:
        super().__init__(pool, callbacks, transaction, shard_hint)
        self._client, self._atomic = client, bool(transaction)

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's signature
        if self._atomic:
            self._client.step()
            return list(super().execute(raise_on_error))
        stack, self.command_stack = list(self.command_stack), []
        return [self._client.execute_command(*args, **options) for args, options in stack]


def steps_of(redis: Redis, act: Act) -> int:
    """Count the commands of an act."""
    process = Stepped(redis)
    act(process)
    return process.steps


def killed_at(redis: Redis, step: int, act: Act) -> bool:
    """Kill a process before one of its commands. Returns False if it came to its end before."""
    try:
        act(Stepped(redis, step))
    except Killed:
        return True
    return False


def with_another_at(redis: Redis, step: int, act: Callable[[Redis], T], other: Act) -> T:
    """Let another process do all of its work before one of the commands of an act, or after its last one.

    Returns what the act returns.
    """
    process = Stepped(redis, step, lambda: other(redis))
    found = act(process)
    if process.steps <= step:
        other(redis)
    return found
