"""Our end of the load generator: one child process for the whole run, a plan in, a result out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import IO

from tests.bench.load import Plan, Result
from tests.bench.processes import BenchError, Crew, python


class Generator:
    """The load generator's process."""

    def __init__(self, crew: Crew) -> None:
        process = crew.spawn(python("-m", "tests.bench.load"), pipes=True)
        assert process.stdin is not None
        assert process.stdout is not None
        self._plans: IO[bytes] = process.stdin
        self._results: IO[bytes] = process.stdout

    def offer(self, plan: Plan) -> Result:
        """Send what the plan says. Raises BenchError unless every request was answered with the ack."""
        result = self.try_out(plan)
        if result.refused or result.broken or not result.accepted:
            raise BenchError(
                f"{result.accepted} callbacks were accepted, {result.refused} refused, "
                f"{result.broken} connections broke"
            )
        return result

    def try_out(self, plan: Plan) -> Result:
        """Send what the plan says, whatever the answers are."""
        self._plans.write(json.dumps(asdict(plan)).encode() + b"\n")
        self._plans.flush()
        line = self._results.readline()
        if not line:
            raise BenchError("the load generator ended; its log says why")
        return Result(**json.loads(line))
