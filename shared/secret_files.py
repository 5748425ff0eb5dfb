"""Secrets from files: ``NAME_FILE`` names the file that has the value of the secret setting ``NAME``.

Docker, Kubernetes and systemd provide secrets as files. Unlike a variable, a file is not inherited by every child
process and not shown by tools that list the environment of a container.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError

SUFFIX: Final = "_FILE"

MAX_BYTES: Final = 1 << 20
"""As much as a Secret of Kubernetes can hold. A path such as ``/dev/zero`` must not be read for ever."""


def with_secrets(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Return the variables that are not empty, each ``NAME_FILE`` of a secret replaced by ``NAME``.

    Raises SettingsError that names the variable and the path, never the content.
    """
    values = {name: value for name, value in environ.items() if value.strip()}
    for name in secrets:
        path = values.pop(name + SUFFIX, None)
        if path is None:
            continue
        if name in values:
            raise SettingsError(f"{name} and {name}{SUFFIX} are both set; unset one of them.")
        values[name] = _content(name + SUFFIX, path)
    return values


def json_text(setting: str, value: str, form: str) -> str:
    """Return the JSON of a setting whose value is JSON or the path of a JSON file; ``form``: what it looks like.

    Raises SettingsError that quotes no content.
    """
    if value.lstrip().startswith("{"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a zero byte
        why = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(
            f"{setting} is neither JSON nor a readable file ({why}); it looks like {form}."
        ) from None


def _content(variable: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _unusable(variable, path, "is not UTF-8 text") from None
    except OSError as error:
        raise _unusable(
            variable, path, f"cannot be read ({error.strerror or type(error).__name__})"
        ) from None
    if len(content) > MAX_BYTES:
        raise _unusable(variable, path, f"has more than {MAX_BYTES} bytes")
    if not text.strip():
        raise _unusable(variable, path, "is empty")
    return text


def _unusable(variable: str, path: str, why: str) -> SettingsError:
    return SettingsError(f"{variable} names {path}, which {why}; correct the path, the file or its rights.")
