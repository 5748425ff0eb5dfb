"""Deedbox's receiver inside a FastAPI application, to copy. Starlette mounts it the same way.

    DEEDBOX_API_KEYS=... DEEDBOX_REDIS_URL=redis://localhost:6379 uvicorn --app-dir deploy/examples fastapi_app:app

The callback URL is then https://<host>/hooks/callbacks. Run `deedbox bridge`, `worker` and `sweeper` beside it.
"""

from fastapi import FastAPI

import deedbox

app = FastAPI()
app.mount("/hooks", deedbox.asgi_app())


@app.get("/")
def home() -> str:
    """Serve a page of the application's own."""
    return "home"
