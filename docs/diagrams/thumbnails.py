"""A small picture of each notebook: `python docs/diagrams/thumbnails.py` writes them.

Each is made from a picture that the notebook stores; nothing is executed. It needs
Pillow, which comes with the extra `plot`.
"""

import base64
import json
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "thumbnails"

SIZE = (400, 240)
"""Twice what the pages show, for screens with small pixels."""

PICTURES = {
    "1-first-steps": 1,
    "2-geometry": 5,
    "3-checkerboards": 2,
    "4-from-pytorch": 1,
    "5-training": 0,
    "6-benchmarks": 1,
    "7-many-devices": 0,
    "8-streaming": 0,
}
"""Notebook -> which of its pictures."""


def pictures(notebook: Path) -> list[Image.Image]:
    """All pictures that a notebook stores, in its order."""
    stored = [
        data
        for cell in json.loads(notebook.read_text())["cells"]
        for output in cell.get("outputs", ())
        for kind, data in output.get("data", {}).items()
        if kind in ("image/png", "image/jpeg")
    ]
    return [Image.open(BytesIO(base64.b64decode("".join(data)))) for data in stored]


def write() -> None:
    """The pictures, small, on white."""
    FOLDER.mkdir(exist_ok=True)
    for name, which in PICTURES.items():
        picture = pictures(ROOT / "notebooks" / f"{name}.ipynb")[which].convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        small = Image.alpha_composite(white, picture).convert("RGB")
        small.thumbnail(SIZE)
        small.save(FOLDER / f"{name}.webp", quality=75, method=6)


if __name__ == "__main__":
    write()
