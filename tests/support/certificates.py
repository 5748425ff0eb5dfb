"""A certification authority of the test's own, and certificates that it signs for one address."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def has_openssl() -> bool:
    """Tell whether certificates can be made here."""
    return shutil.which("openssl") is not None


class Authority:
    """Signs certificates; all files are in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._run(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", self._key, "-out", self.ca,
        )  # fmt: skip

    def sign(self, name: str, subject: str) -> tuple[Path, Path]:
        """Return certificate and key for a subject like ``IP:127.0.0.1``."""
        key, request, found = (self._folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={subject}\n")
        self._run(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request
        )
        self._run(
            "x509", "-req", "-days", "2", "-in", request, "-CA", self.ca, "-CAkey", self._key,
            "-CAcreateserial", "-extfile", extensions, "-out", found,
        )  # fmt: skip
        return found, key

    @staticmethod
    def _run(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
