"""``python -m deedbox.ops.web``: the ops process. People use ``deedbox ops``."""

from __future__ import annotations

import os
import sys

from deedbox.ops.web import server

if __name__ == "__main__":
    sys.exit(server.main(os.environ))
