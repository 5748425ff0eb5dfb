"""FastAPI + taskiq: verify, ``kiq`` the dict, answer. The broker is started as taskiq's guide for FastAPI says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse

from tests.bench.peers.taskiq_app import broker, handle
from tests.bench.peers.verification import ACK, Refused, verified


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app: Any = FastAPI(lifespan=_lifespan)


async def callbacks(request: Request) -> PlainTextResponse:
    """Take a callback."""
    # The request itself rather than a ``Form()`` parameter: it spares FastAPI's own validation, to taskiq's favour.
    async with request.form() as form:
        text = form.get("json")
    try:
        await handle.kiq(verified(text if isinstance(text, str) else None))
    except Refused as refused:
        raise HTTPException(refused.status) from None
    return PlainTextResponse(ACK)


app.post("/callbacks", response_model=None)(callbacks)
