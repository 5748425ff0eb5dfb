"""Deedbox's receiver inside a Flask application, to copy.

    DEEDBOX_API_KEYS=... DEEDBOX_REDIS_URL=redis://localhost:6379 flask --app deploy/examples/flask_app.py run

The callback URL is then https://<host>/hooks/callbacks. Run `deedbox bridge`, `worker` and `sweeper` beside it.
"""

from flask import Flask

import deedbox.flask

app = Flask(__name__)
app.register_blueprint(deedbox.flask.blueprint(), url_prefix="/hooks")


@app.get("/")
def home() -> str:
    """Serve a page of the application's own."""
    return "home"
