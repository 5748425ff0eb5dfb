"""The read model of a signature request, as it is stored: ``request:<stream>``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import (
    WHAT_DECODERS_RAISE,
    Unreadable,
    flag,
    many,
    named,
    natural,
    number,
    row,
    words,
)
from deedbox.shared.core.request_snapshot import PLACES
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import STATES

FORM: Final = "read model"

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Unpacked."""


def dump(model: Mapping[str, Any]) -> bytes:
    """Return the model, compressed; ``load`` is the inverse."""
    ids = (model.get("signature_request_id"), *model.get("signers", ()))
    return codec.pack(jsontext.dumps(dict(model)), ids=ids)


def load(data: bytes) -> dict[str, Any] | Unreadable:
    """Rebuild the model. What this version does not know of it stays as it is."""
    try:
        return _model(jsontext.loads(codec.text_of(data, LIMIT_BYTES)))
    except WHAT_DECODERS_RAISE:
        return Unreadable(FORM, len(data))


def _model(document: Any) -> dict[str, Any]:
    found = row(document)
    return {**found, **{name: _KNOWN[name](value) for name, value in found.items() if name in _KNOWN}}


def _one_of(choice: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choice:
            raise TypeError
        return words(value)

    return read


_state: Final = _one_of(STATES)
_how_far: Final = _one_of(PLACES)
_level: Final = _one_of(tuple(level.word for level in Trust))


def _place(value: Any) -> list[int]:
    time, rank = value
    return [natural(time), natural(rank)]


def _layer(value: object) -> dict[str, Any]:
    found = row(value)
    return {
        "states": {_state(name): _place(place) for name, place in row(found["states"]).items()},
        "rows": named(found["rows"], _signer),
        "facts": {name: _fact(name, fact) for name, fact in row(found["facts"]).items()},
        "changed_at": natural(found["changed_at"]),
    }


def _fact(name: str, value: Any) -> list[Any]:
    time, rank, found = value
    return [natural(time), natural(rank), _KNOWN[name](found)]


def _signer(value: object) -> dict[str, list[int]]:
    return {_how_far(name): _place(place) for name, place in row(value).items()}


def _levels(value: object) -> dict[str, dict[str, Any]]:
    return {_level(name): _layer(layer) for name, layer in row(value).items()}


def _reconciled(value: object) -> dict[str, Any]:
    found = dict(row(value))
    checks: Mapping[str, Callable[[object], object]] = {
        "at": number, "by": words, "advanced": flag,
        "gaps": _texts, "missed": _texts, "told": _texts,
    }  # fmt: skip
    return found | {name: checks[name](each) for name, each in found.items() if name in checks}


def _texts(value: object) -> list[str]:
    return list(many(value, words))


_KNOWN: Final[Mapping[str, Callable[[Any], object]]] = {
    "signature_request_id": words,
    "levels": _levels,
    "state": _state,
    "vouched": _state,
    "ready_to_sign": flag,
    "complete": flag,
    "closed": flag,
    "trust": lambda value: named(value, _level),
    "updated_at": natural,
    "asked_at": natural,
    "gone_at": number,
    "signers": lambda value: named(value, words),
    "title": words,
    "test_mode": flag,
    "created_at": natural,
    "expires_at": natural,
    "reconciled": _reconciled,
}
