"""``python -m deedbox.ingress``: the web process; with ``drain`` or ``spool``, a command about its spool."""

from __future__ import annotations

import os
import sys

from deedbox.ingress import server, spool_command

if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(spool_command.main(os.environ, sys.argv[1:]))
    sys.exit(server.main(os.environ))
