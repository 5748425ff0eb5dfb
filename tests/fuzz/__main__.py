"""Coverage-guided fuzzing: ``python -m tests.fuzz [request|signed] [--runs N] [corpus folder]``.

Optional, it needs atheris. Runs until stopped, or N inputs; a failing one is written to ``crash-<digest>`` and
runs again when it is given as the corpus.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

CONTENT_TYPES = (
    None,
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
)


def main() -> int:
    """Run a target. Returns an exit code; atheris ends the process itself."""
    try:
        import atheris
    except ImportError:
        sys.stderr.write("The fuzzer needs atheris: `pip install atheris` (Linux, Python up to 3.13).\n")
        return 2
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=["request", "signed"], default="request")
    parser.add_argument("--runs", type=int, default=-1, help="inputs; -1: until stopped")
    parser.add_argument("corpus", nargs="*")
    arguments = parser.parse_args()
    with atheris.instrument_imports(
        include=["deedbox.ingress", "deedbox.workers", "deedbox.shared.core", "multipart"]
    ):
        from tests.fuzz import targets
    import structlog

    structlog.configure(processors=[_drop])

    def request(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        kind = CONTENT_TYPES[provider.ConsumeIntInRange(0, len(CONTENT_TYPES) - 1)]
        targets.request(provider.ConsumeBytes(len(data)), kind)

    def signed(data: bytes) -> None:
        try:
            document = targets.sign(json.loads(data))
        except (ValueError, RecursionError):
            targets.signed_text(data)
        else:
            targets.signed_text(json.dumps(document).encode())

    options = [sys.argv[0], f"-runs={arguments.runs}", "-max_len=4096", *arguments.corpus]
    atheris.Setup(options, request if arguments.target == "request" else signed)
    atheris.Fuzz()
    return 0


def _drop(_logger: object, _name: str, _event: Any) -> Any:
    import structlog

    raise structlog.DropEvent


if __name__ == "__main__":
    sys.exit(main())
