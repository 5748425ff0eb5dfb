"""What holds for every suite."""

from __future__ import annotations

from hypothesis import settings

# Hypothesis would fail an example that takes 200 ms: on a loaded machine that says nothing about the code.
settings.register_profile("deedbox", deadline=None)
settings.load_profile("deedbox")
