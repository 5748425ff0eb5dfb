"""The in-memory Redis: fakeredis's data types and commands, called directly, and scripts compiled once.

fakeredis compiles a script and collects garbage on every call and checks globals on every command of it; going
around its wire format and that makes a call about ten times cheaper. Redis's own clock is the simulated one,
read when the command runs, not when its client sent it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import fakeredis
from fakeredis import _helpers, _msgs
from fakeredis._socket import _resp
from fakeredis.commands_mixins import scripting_mixin
from fakeredis.model import _stream
from redis.exceptions import ResponseError

from deedbox.shared.redis import keys, scripting

Operand = str | bytes | float

_PREPARE: Final = """
function(call, encode, decode)
  cjson = { encode = encode, decode = decode }
  redis = { call = call, error_reply = function(message) return { err = message } end }
  return function(arguments) KEYS, ARGV = {}, arguments end
end
"""


class Engine:
    """fakeredis and a Lua interpreter, made once per operating system process: building them costs milliseconds."""

    def __init__(self) -> None:
        self.fake = fakeredis.FakeServer()
        self._client = fakeredis.FakeRedis(server=self.fake)
        connection = self._client.connection_pool.get_connection()
        connection.connect()
        self.socket = connection._sock
        self.runtime = scripting_mixin.LUA_MODULE.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._arguments = self.runtime.eval(_PREPARE.encode())(self._call, self._encode, self._decode)
        self._compiled: dict[str, Callable[[], Any]] = {}
        self._functions: dict[bytes, tuple[Any, Any]] = {}
        self.shas: Mapping[str, bytes] = {
            name: self._client.register_script(source).sha.encode()
            for name, source in scripting.SOURCES.items()
        }

    def run_script(self, source: str, arguments: Sequence[bytes]) -> Any:
        """Run a script; compiled once. Raises LuaError, SimpleError."""
        chunk = self._compiled.get(source)
        if chunk is None:
            chunk = self._compiled[source] = self.runtime.compile(source.encode())
        self._arguments(self.runtime.table_from(arguments))
        self.socket._script_resp = 2
        try:
            result = chunk()
        finally:
            self.socket._script_resp = None
        return self.socket._convert_lua_result(result, nested=False)

    def _call(self, name: bytes, *arguments: Any) -> Any:
        words = [scripting_mixin._convert_redis_arg(each) for each in arguments]
        return self.socket._convert_redis_result(self.runtime, self.run(name, words, from_script=True))

    def _encode(self, table: Any) -> bytes:
        """Do what ``cjson.encode`` does for a flat table."""
        return json.dumps({name.decode(): _plain(value) for name, value in table.items()}).encode()

    def _decode(self, text: bytes) -> Any:
        """Do what ``cjson.decode`` does. Raises ValueError."""
        return self._as_lua(json.loads(text))

    def _as_lua(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.runtime.table_from(
                {name.encode(): self._as_lua(each) for name, each in value.items()}
            )
        if isinstance(value, list):
            return self.runtime.table_from([self._as_lua(each) for each in value])
        return value.encode() if isinstance(value, str) else value

    def run(self, name: bytes, arguments: list[bytes], *, from_script: bool = False) -> Any:
        """Run a command. Raises SimpleError."""
        found = self._functions.get(name)
        if found is None:
            found = self._functions[name] = self.socket._name_to_func(name.decode().lower())
        function, signature = found
        prepared = signature.apply(arguments, self.socket._db, self.fake.version)
        if len(prepared) == 1:
            return prepared[0]  # fakeredis's short cut for missing keys
        words, items = prepared
        try:
            result = function(*words)
        finally:
            for item in items:
                item.writeback(remove_empty_val=_msgs.FLAG_LEAVE_EMPTY_VAL not in signature.flags)
        return _resp.convert_to_resp2(result) if from_script else result


@cache
def _engine() -> Engine:
    return Engine()


class Server:
    """One Redis, empty at first; only one may be used at a time. ``edits``: script name -> planted fault."""

    def __init__(self, clock: Callable[[], float], edits: Mapping[str, Callable[[str], str]]) -> None:
        self._clock = clock
        self._engine = _engine()
        self._scripts: dict[bytes, tuple[str, str]] = {}
        for name, source in scripting.SOURCES.items():
            self._scripts[self._engine.shas[name]] = (name, edits.get(name, str)(source))
        self.execute("FLUSHALL")
        # Asked at every step, so past fakeredis's own look-up; no key expires within a schedule.
        self._keys: dict[bytes, Any] = self._engine.socket._db._dict

    def script_name(self, sha: Operand) -> str:
        """Return the name of a script."""
        return self._scripts[_encoded(sha)][0]

    def execute(self, *command: Operand) -> Any:
        """Run one command. Raises ResponseError."""
        engine = self._engine
        words = [_encoded(word) for word in command]
        with engine.fake.lock:
            engine.socket._db.time = self._clock()
            # Entries of streams are named by the time, for which fakeredis asks the operating system.
            _stream.time = SimpleNamespace(time=self._clock)
            try:
                if words[0] == b"EVALSHA":
                    return self._evalsha(words[1], words[3:])
                result = engine.run(words[0], words[1:])
            except _helpers.SimpleError as error:
                raise ResponseError(error.value) from None
            finally:
                _stream.time = time
        return engine.socket._decode_result(result)

    def _evalsha(self, sha: bytes, arguments: list[bytes]) -> Any:
        name, source = self._scripts[sha]
        if arguments[0] == scripting.SERVER_CLOCK.encode():
            arguments[0] = repr(self._clock()).encode()
        try:
            return self._engine.run_script(source, arguments)
        except scripting_mixin.LUA_MODULE.LuaError as error:
            raise ResponseError(f"{name}: {error}") from None

    def has(self, key: str) -> bool:
        """Tell whether a key exists."""
        return key.encode() in self._keys

    def has_none_of(self, names: AbstractSet[bytes]) -> bool:
        """Tell whether none of the keys exists."""
        return names.isdisjoint(self._keys)

    def texts(self, *command: Operand) -> list[str]:
        """Run a command that returns a list, as texts."""
        return [each.decode("utf-8", "replace") for each in self.execute(*command)]

    def names(self, pattern: str) -> list[str]:
        """Return the names of keys below Deedbox's prefix, sorted."""
        return sorted(self.texts("KEYS", keys.PREFIX + pattern))

    def size(self, key: str) -> int:
        """Count the entries of a list or a sorted set; 0 if there is none."""
        if not self.has(key):
            return 0
        kind = self.execute("TYPE", key)
        command = {b"list": "LLEN", b"zset": "ZCARD", b"hash": "HLEN"}[kind]
        return int(self.execute(command, key))


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _encoded(word: Operand) -> bytes:
    if isinstance(word, bytes):
        return word
    return word.encode() if isinstance(word, str) else repr(word).encode()
