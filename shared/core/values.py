"""Values of which every callback makes some: frozen for readers and the type checker, at no cost at run time.

A frozen dataclass sets every field through ``object.__setattr__``, which takes three times as long as an assignment;
a callback makes about fifty such fields. Everything else stays a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

T = TypeVar("T")

if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def value(cls: type[T]) -> type[T]:
        """Make a class a value: equal and hashable by its fields, and never changed."""
else:
    value = dataclass(slots=True, unsafe_hash=True)
