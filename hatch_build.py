"""What a package index shows: README, whose relative links lead nowhere there.

`JCONVT_ADDRESS=https://host/owner/jconvt make dist` makes them absolute, at the tag of
the version, and adds the addresses of the project. Without it README is unchanged.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])")
_PICTURE = re.compile(r'(?<=<img src=")(?![a-z]+:)')


class Links(MetadataHookInterface):
    """Fills in `readme` and `urls`, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Changes the metadata in place, as hatchling wants it."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = os.environ.get("JCONVT_ADDRESS", "").rstrip("/")
        if address:
            tag = f"v{metadata['version']}"
            text = _LINK.sub(f"{address}/blob/{tag}/", text)
            text = _PICTURE.sub(f"{address}/raw/{tag}/", text)
            metadata["urls"] = {
                "Source": address,
                "Documentation": f"{address}/blob/{tag}/docs/index.md",
                "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{address}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
