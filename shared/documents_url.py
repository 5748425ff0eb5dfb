"""Where documents are stored: the form of ``DEEDBOX_DOCUMENTS_URL``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from deedbox.shared.core.errors import SettingsError

FILE: Final = "file"

_FORM: Final = (
    "DEEDBOX_DOCUMENTS_URL is not file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; "
    "correct it, and leave credentials out of it: they have variables of the store's vendor."
)
_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9!_.'()=-]+"
_BUCKET: Final = re.compile(
    rf"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]*)/?({_SEGMENT}(?:/{_SEGMENT})*)?/?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class DocumentsUrl:
    """A directory, or a bucket (a container, in Azure's word) and a prefix in it."""

    scheme: str
    place: str
    """The directory, or the bucket's name."""
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read the setting. Raises SettingsError."""
        if url.startswith("file:///"):
            return cls(FILE, url.removeprefix("file://"))
        found = _BUCKET.fullmatch(url)
        if found is None:
            raise SettingsError(_FORM)
        return cls(found[1], found[2], found[3] or "")

    @property
    def folder(self) -> Path | None:
        """The directory; None for a bucket."""
        return Path(self.place) if self.scheme == FILE else None

    def __str__(self) -> str:
        if self.scheme == FILE:
            return str(Path(self.place).absolute())
        return f"{self.scheme}://{self.place}" + (f"/{self.prefix}" if self.prefix else "")
