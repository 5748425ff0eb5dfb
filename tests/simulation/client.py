"""The Redis client of one simulated process: every command is a point where anything may happen.

Behaves like ``deedbox.shared.redis.connections.patient_redis``: a command whose connection broke is sent again, although it
may have taken effect; an error reaches the caller only after many tries.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from redis import ConnectionPool, Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.server import Operand, Server

BACKOFF_S: Final = 0.1
BACKOFF_MAX_S: Final = 1.0
LATE_S: Final = 3.0
"""Longest delay of a late request: beyond the next rounds of the process that sent it."""


class Loss(StrEnum):
    """What a connection lost."""

    NOTHING = ""
    REQUEST = " (request lost)"
    """The command never reached Redis."""
    REPLY = " (reply lost)"
    """The command took effect, and its client does not know."""
    LATE = " (request late)"
    """The command takes effect some time after its client has sent it again (a retransmitted packet)."""


class Wire:
    """Carries the commands of one process to the server."""

    def __init__(
        self,
        process: Process,
        scheduler: Scheduler,
        server: Server,
        lose: Callable[[], Loss],
        gives_up: Callable[[], bool],
        watch: Callable[[Process, str, Any], None],
    ) -> None:
        self.process = process
        self._scheduler = scheduler
        self._server = server
        self._lose = lose
        self._gives_up = gives_up
        self._watch = watch

    def send(self, command: tuple[Operand, ...]) -> Any:
        """Run a command as production's client does. Raises redis-py's errors, and Crashed."""
        match command:
            case ("BLPOP", str(key), (int() | float()) as timeout_s):
                popped = self._block(key, timeout_s, ("LPOP", key))
                return None if popped is None else [key.encode(), popped]
            case ("BLMOVE", str(key), str(target), str(out), str(into), (int() | float()) as timeout_s):
                return self._block(key, timeout_s, ("LMOVE", key, target, out, into))
            case _:
                return self._patiently(command)

    def _block(self, key: str, timeout_s: float, command: tuple[Operand, ...]) -> Any:
        end = self._scheduler.now + timeout_s
        while (popped := self._patiently(command)) is None:
            self._scheduler.pause(end, lambda: self._server.has(key))
            if self._scheduler.now >= end and not self._server.has(key):
                return None
        return popped

    def _patiently(self, command: tuple[Operand, ...]) -> Any:
        wait_s = BACKOFF_S
        while True:
            self._scheduler.pause()
            loss = self._lose()
            if loss is Loss.NOTHING:
                return self._execute(command, loss)
            if loss is Loss.REPLY:
                self._execute(command, loss)
            else:
                self._note(command, "", loss)
            if loss is Loss.LATE:
                delay_s = self._scheduler.rng.random() * LATE_S
                self._scheduler.at(self._scheduler.now + delay_s, lambda: self._arrive(command))
            self.process.disturbances += 1
            if self._gives_up():
                raise RedisConnectionError("the connection broke again and again")
            self._scheduler.sleep(wait_s)
            wait_s = min(wait_s * 2, BACKOFF_MAX_S)

    def _execute(self, command: tuple[Operand, ...], loss: Loss) -> Any:
        name, _ = self._name(command)
        self._watch(self.process, name, None)
        reply = self._server.execute(*command)
        self._note(command, reply, loss)
        if loss is Loss.NOTHING:
            self._watch(self.process, name, reply)
        return reply

    def _arrive(self, command: tuple[Operand, ...]) -> None:
        name, arguments = self._name(command)
        if name in {"announce", "release"}:
            self._watch(self.process, name, None)
        reply = self._server.execute(*command)
        self._scheduler.note(lambda: f"late, of {self.process.name}: {name} {arguments!r} -> {reply!r}")

    def _name(self, command: tuple[Operand, ...]) -> tuple[str, tuple[Operand, ...]]:
        if command[0] == "EVALSHA":
            return self._server.script_name(command[1]), command[4:]
        return str(command[0]), command[1:]

    def _note(self, command: tuple[Operand, ...], reply: Any, loss: Loss) -> None:
        name, arguments = self._name(command)
        self._scheduler.note(lambda: f"{name} {arguments!r} -> {reply!r}{loss.value}")


class SimulatedPipeline(Pipeline):
    """A pipeline without MULTI: others' commands may run between its own."""

    def __init__(self, wire: Wire, client: Redis) -> None:
        super().__init__(
            client.connection_pool, client.response_callbacks, transaction=False, shard_hint=None
        )
        self._wire = wire

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: ARG002, FBT001, FBT002 - redis-py's signature
        stack = list(self.command_stack)
        self.command_stack = []
        return [_answer(self._wire, self.response_callbacks, args, options) for args, options in stack]


_UNUSED: Final = ConnectionPool()
"""No connection is ever opened; making a pool for every client would cost a millisecond each."""


class SimulatedRedis(Redis):
    """A client without a connection."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(connection_pool=_UNUSED)
        self._wire = wire

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return _answer(self._wire, self.response_callbacks, args, options)

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> SimulatedPipeline:  # noqa: FBT002
        if transaction or shard_hint:
            # Not a gap: the simulation interleaves single commands, so a MULTI would be run as something else than
            # it is. Whoever begins to use one in the workers must learn that here.
            raise NotImplementedError("the workers use plain pipelines only")
        return SimulatedPipeline(self._wire, self)


def _answer(wire: Wire, callbacks: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    reply = wire.send(args)
    options.pop("keys", None)
    parse = callbacks.get(args[0])
    return reply if parse is None else parse(reply, **options)
