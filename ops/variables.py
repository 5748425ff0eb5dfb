"""Finds DEEDBOX_ variables that nothing reads: a typo there is a setting that silently has no effect."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from deedbox.shared.secret_files import SUFFIX
from deedbox.shared.settings import SECRETS, SETTINGS_SHOWN, Settings

PREFIX: Final = "DEEDBOX_"

NO_SETTINGS: Final = frozenset({"DEEDBOX_RECORD_PATH", SETTINGS_SHOWN})
"""Known variables that are no settings: the recording action of the demonstration reads its path there."""


def unknown(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong and what to do, for each of them."""
    names = {str(field.alias) for field in Settings.model_fields.values()}
    known = names | {name + SUFFIX for name in SECRETS} | NO_SETTINGS
    for name in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        fix = f"did you mean {close[0]}?" if close else "unset it; `deploy/env.example` lists the settings"
        yield f"{name} is not a setting of this version and has no effect", fix
