"""``python -m deedbox.ingress``: the web process; with ``drain`` or ``spool``, a command about its spool."""

from __future__ import annotations

import os
import sys

from deedbox.ingress import server, spool_command


def program() -> int:
    """Run it to its end. Returns the exit code."""
    if len(sys.argv) > 1:
        return spool_command.main(os.environ, sys.argv[1:])
    return server.main(os.environ)


if __name__ == "__main__":
    sys.exit(program())
