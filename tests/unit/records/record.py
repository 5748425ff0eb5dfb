"""Records a sample of each form for the present schema version: ``python -m tests.unit.records.record``.

Samples of a version that was released stay as they are: what was written then is read for good.
"""

from __future__ import annotations

import sys

from tests.unit.records.samples import RECORDED, SAMPLES


def main() -> int:
    """Write the samples that are missing; ``--force`` writes all of them anew."""
    RECORDED.mkdir(parents=True, exist_ok=True)
    for name, sample in SAMPLES.items():
        path = RECORDED / name
        if "--force" in sys.argv or not path.exists():
            path.write_bytes(sample.text())
            sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
