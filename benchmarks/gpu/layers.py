"""The layers of the zoo in a GPU's sizes, the most telling first."""

from dataclasses import replace

from benchmarks.layers import Layer, zoo

LARGER = 8
"""Times the zoo's batch: with its own, a GPU would mostly be waiting for work."""

FIRST = (
    "dcgan-up", "unet-up", "hifigan-3", "cyclegan-up", "vnet-3d-odd",
    "centernet-depthwise", "nnunet-3d", "grouped-8", "wavegan", "dilated",
    "maskrcnn-head", "fsrcnn", "stride-1", "jax-31662-3d",
)  # fmt: skip
"""One layer of each kind, for a run that ends before all have raced."""


def layers(larger: int) -> dict[str, Layer]:
    """Name -> layer, with `larger` times the zoo's batch."""
    rest = {layer.name: layer for layer in zoo()}
    ordered = {name: rest.pop(name) for name in FIRST} | rest
    return {
        name: replace(layer, batch=larger * layer.batch)
        for name, layer in ordered.items()
    }
