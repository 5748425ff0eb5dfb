"""``python -m ingress``: the web process."""

from __future__ import annotations

import os
import sys

from ingress.server import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
