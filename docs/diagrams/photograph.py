"""The photograph of the first page: `python docs/diagrams/photograph.py` writes it.

The demo's network learns for as many steps as a minute gives on two cores, and the
detail that the demo's picture magnifies is shown bicubic, by the network, and true. It
needs the extra `demo`; the labels are of a grey that is legible on white and on black.
"""

from pathlib import Path

from flax import nnx
from matplotlib.figure import Figure

from jconvt._demo import run
from jconvt._demo.network import SuperResolution, enlarge
from jconvt._demo.photos import (
    HELD_OUT,
    LEARN,
    ZOOMS,
    as_image,
    as_input,
    load,
    luma,
    patches,
)
from jconvt._demo.picture import DETAIL

STEPS, SEED = 1000, 0
GREY = "#808890"
FILE = Path(__file__).with_name("photograph.webp")


def learned() -> SuperResolution:
    """The network of `python -m jconvt demo --steps 1000`."""
    photos = [load(name, zoom) for name in LEARN for zoom in ZOOMS]
    network = SuperResolution(rngs=nnx.Rngs(SEED))
    batches = patches(photos, run.BATCH, run.PATCH, SEED)
    run._train(network, batches, run._fractions(0, STEPS))
    return network


def draw(network: SuperResolution) -> None:
    """The detail, side by side in three versions."""
    photo = load(HELD_OUT)
    answer = as_image(enlarge(network, as_input(luma(photo.small))))
    left, top, width, height = DETAIL
    *others, truth = run._panels(photo, answer)[1:]
    labels = [*(f"{panel.name}\n{panel.note}" for panel in others), f"{truth.name}\n"]
    figure = Figure(figsize=(6.3, 2.6), dpi=120)
    axes = figure.subplots(1, len(labels))
    figure.subplots_adjust(0.005, 0, 0.995, 0.83, wspace=0.03)
    for ax, panel, label in zip(axes, (*others, truth), labels, strict=True):
        ax.imshow(panel.image[top : top + height, left : left + width])
        ax.set_title(label, fontsize=11, color=GREY)
        ax.set_axis_off()
    figure.savefig(FILE, transparent=True, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    draw(learned())
