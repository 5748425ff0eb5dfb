"""The package's page on PyPI: README.md with links that lead to the repository. ``hatchling`` calls this at each build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_TARGET: Final = re.compile(r"(?<=\]\()(?!https?://|#)")


class PackagePage(MetadataHookInterface):
    """Fills the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Lead each relative link to the file of the same version."""
        place = f"{metadata['urls']['Source']}/blob/v{metadata['version']}/"
        text = _TARGET.sub(place, Path(self.root, "README.md").read_text("utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
