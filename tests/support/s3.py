"""An S3 of this machine's own, and what names it for a process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.moto import KEY, REGION, SECRET, MotoServer

BUCKET: Final = "deeds"
URL: Final = f"s3://{BUCKET}/team/documents"


class S3Server(MotoServer):
    """Moto's S3."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "s3")

    def warm_up(self) -> None:
        self.client().list_buckets()

    def make_bucket(self) -> None:
        """Make the bucket of ``URL``."""
        self.client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})

    def environ(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the variables of a process that stores here."""
        return {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint or self.address,
        }  # fmt: skip
