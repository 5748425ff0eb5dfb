"""``python -m deedbox.ops.web``: the ops process. People use ``deedbox ops``."""

from __future__ import annotations

import os
import sys

from deedbox.ops.web import server


def program() -> int:
    """Run it to its end. Returns the exit code."""
    return server.main(os.environ)


if __name__ == "__main__":
    sys.exit(program())
