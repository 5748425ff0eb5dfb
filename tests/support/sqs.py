"""An SQS of this machine's own."""

from __future__ import annotations

from pathlib import Path

from tests.support.moto import KEY, REGION, SECRET, MotoServer


class SqsServer(MotoServer):
    """Moto's SQS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "sqs")

    def url(self, **options: object) -> str:
        """Return the broker URL, with these options of ``deedbox.shared.broker.sqs``."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"sqs://{KEY}:{SECRET}@127.0.0.1:{self.port}?tls=off&region={REGION}{more}"

    def warm_up(self) -> None:
        self.client().list_queues()
