"""What the bench of operations makes of its figures."""

from __future__ import annotations

from dataclasses import asdict

from tests.bench.operations import ALONE, COMPUTING, Measured, verdicts


def _row(name: str, script_ms: float = 0, command_ms: float = 0, p99_ms: float = 1) -> dict[str, object]:
    return asdict(Measured(name, 1.0, 1, script_ms, command_ms, "SCAN", 1.0, p99_ms, 100))


def test_every_operation_is_held_against_both_goals() -> None:
    usual = [_row(ALONE, p99_ms=8), _row(ALONE, p99_ms=10), _row(COMPUTING, p99_ms=500)]
    assert [each.met for each in verdicts({"operations": [*usual, _row("erase", 20, 3, 20)]})] == [True, True]
    long, late = verdicts({"operations": [*usual, _row("erase", 3, 20.5, 20.5), _row("sweep", 1, 1, 1)]})
    assert (long.met, late.met) == (False, False)
    assert "erase" in long.measured
    assert "2.05" in late.measured
