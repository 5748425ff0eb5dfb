"""What holds for every suite."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from deedbox.shared import sealing
from deedbox.shared.sealing.key_ring import KeyRing

# Hypothesis would fail an example that takes 200 ms: on a loaded machine that says nothing about the code.
settings.register_profile("deedbox", deadline=None)
settings.load_profile("deedbox")


@pytest.fixture(autouse=True)
def encryption() -> Iterator[None]:
    """Leave no key ring to the next test. ``DEEDBOX_TESTS_ENCRYPTED=1`` runs any suite with one (``make test-encrypted``)."""
    wanted = os.environ.get("DEEDBOX_TESTS_ENCRYPTED")
    sealing.install(KeyRing([bytes(range(32))]) if wanted else None)
    yield
    sealing.install(None)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Leave no configuration of structlog to the next test: its stream may be closed by then."""
    yield
    structlog.reset_defaults()
