"""gunicorn -c deploy/gunicorn.conf.py deedbox.ingress.wsgi:server; the same values as ``python -m deedbox.ingress``."""

from __future__ import annotations

import os

from deedbox.ingress.server import gunicorn_conf

globals().update(gunicorn_conf(os.environ))
