"""Loads the Lua scripts and calls them, with redis errors translated."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError, RedisError

from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated

FOLDER: Final = files("deedbox.shared.redis") / "scripts"

NAMES: Final = tuple(
    sorted(
        {each.name.removesuffix(".lua") for each in FOLDER.iterdir() if each.name.endswith(".lua")} - {"lib"}
    )
)

Operand = str | bytes | float
"""What a script can be given."""

SERVER_CLOCK: Final = ""
"""As ``now``: the script asks the server for the time, when it runs. Tests may pass seconds instead."""


def text(reply: bytes | str) -> str:
    """Return a reply as text, whatever bytes it is: clients here do not decode, and redis-py's types allow for both."""
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply


def source_of(name: str) -> str:
    """Return a script's text: the key prefixes, the library, then the script."""
    head = f"local P = '{keys.PREFIX}'\nlocal RQ = 'rq:queue:{keys.RQ_QUEUE_PREFIX}'\n"
    return head + (FOLDER / "lib.lua").read_text("utf-8") + (FOLDER / f"{name}.lua").read_text("utf-8")


SOURCES: Final = {name: source_of(name) for name in NAMES}
"""Read once, a megabyte with the library in each: a process has several ``Scripts``, and a fork shares it with others."""


class Scripts:
    """The scripts of one Redis connection pool. Shared by threads; opens nothing by itself."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._scripts: dict[str, Script] = {
            name: redis.register_script(source) for name, source in SOURCES.items()
        }

    def call(self, name: str, *args: Operand) -> Any:
        """Run a script. Raises Unavailable when Redis does not answer or refuses."""
        script = self._scripts[name]
        try:
            try:
                # What calling ``script`` comes to in the end: on its way there it copies the operands again and again.
                return self.redis.execute_command("EVALSHA", script.sha, 0, *args)  # type: ignore[no-untyped-call]
            except NoScriptError:
                return script(args=args)
        except RedisError as error:
            raise translated(error) from error
