"""What a check says: one line, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, but something may go wrong or be lost; a person should decide."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``deedbox check``. Never holds a secret."""

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""
    of_settings: bool = False
    """The settings themselves are not usable: exit code 2."""

    def document(self) -> dict[str, str]:
        """Return JSON values."""
        return {"name": self.name, "verdict": str(self.verdict), "detail": self.detail, "fix": self.fix}


def ok(name: str, detail: str) -> Finding:
    """Make a finding that needs nothing."""
    return Finding(name, Verdict.OK, detail)


def warning(name: str, detail: str, fix: str = "") -> Finding:
    """Make a finding that a person should know of."""
    return Finding(name, Verdict.WARNING, detail, fix)


def failed(name: str, detail: str, fix: str = "") -> Finding:
    """Make a finding that must be fixed."""
    return Finding(name, Verdict.FAILED, detail, fix)


def unusable(name: str, sentence: str) -> Finding:
    """Make the finding of a SettingsError, whose sentence names the fix."""
    return Finding(name, Verdict.FAILED, sentence, of_settings=True)


def brief(error: Exception) -> str:
    """Shorten a client library's error to its type and first line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
