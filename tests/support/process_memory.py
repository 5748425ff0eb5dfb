"""What a process on this machine has in its memory, read from the kernel. Linux only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")


def holds(pid: int, text: bytes) -> bool:
    """Return whether the memory that a process may write to has this text: its environment, its objects, what it freed."""
    folder = Path("/proc", str(pid))
    with (folder / "mem").open("rb", buffering=0) as memory:
        for line in (folder / "maps").read_text("ascii", "replace").splitlines():
            found = _LINE.match(line)
            if found is None or line.endswith("[vvar]"):
                continue
            begin, end = (int(number, 16) for number in found.groups())
            memory.seek(begin)
            try:
                if text in (memory.read(end - begin) or b""):
                    return True
            except OSError:  # given back meanwhile, or a device's
                continue
    return False
