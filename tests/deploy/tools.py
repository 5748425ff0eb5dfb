"""The validators that come as Python packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def check(tool: str, *words: str) -> str:
    """Run a tool of the development environment; returns what it found wrong, or nothing."""
    command = (str(Path(sys.executable).parent / tool), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
