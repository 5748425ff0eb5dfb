"""A command that hands its work to a worker process, run in this process: importing the SDK again takes seconds."""

from __future__ import annotations

from typing import NoReturn

import pytest
from typer.testing import CliRunner

from deedbox.ops import cli
from deedbox.ops.cli.repair import account
from deedbox.workers.__main__ import main


def run_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run ``deedbox WORDS``; the worker's part writes to this process's own output. Returns the exit code."""
    became: list[list[str]] = []

    def become(*arguments: str) -> NoReturn:
        became.append(list(arguments))
        raise SystemExit(0)

    monkeypatch.setattr(account, "become", become)
    done = CliRunner().invoke(cli.app, words)
    return main(became[0]) if became else done.exit_code
