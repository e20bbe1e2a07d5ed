"""A random layer with a dtype and a layout, small enough to be compiled many times."""

import math
from dataclasses import replace
from random import Random

import jax.numpy as jnp

from benchmarks.aot.forms import Form
from benchmarks.candidates import problem_of_layer
from benchmarks.cliffs.draw import draw
from jconvt._call.problem import Problem

MOST_IMAGES = 8
"""As many as a TPU's register has sublanes."""

MOST_USEFUL = 6e8
"""Multiply-adds of products that reach the output."""

MOST_ELEMENTS = (2e6, 2e6, 4e5)
"""Of input, weight and output, by the number of spatial axes."""

MOST_TAPS = 128
"""Of a kernel with several axes; one axis may have 4,096."""


def sample(seed: int, number: int) -> Form | None:
    """The layer with this number, or None where it would take long to compile.

    Layers are those of `make cliffs`, of at most eight images. Volumes with groups are
    left out too: each of their programs takes a minute.
    """
    drawn = draw(seed, number)
    layer = replace(drawn.layer, batch=min(drawn.layer.batch, MOST_IMAGES))
    found = problem_of_layer(layer, features_first=True)
    arrays = max(found.inputs, found.weights, found.outputs)
    slow = (
        found.useful > MOST_USEFUL
        or arrays > MOST_ELEMENTS[layer.rank - 1]
        or (layer.rank > 1 and math.prod(layer.kernel_size) > MOST_TAPS)
        or (layer.rank == 3 and layer.groups > 1)
    )
    if slow:
        return None
    return Form(
        layer=layer,
        layout="last" if drawn.channels_last else "first",
        dtype=Random(f"dtype {seed}-{number}").choice(("float32", "bfloat16")),
        platform="tpu",
    )


def problem_of_form(form: Form) -> Problem:
    """The sizes as the choice sees them."""
    found = problem_of_layer(form.layer, features_first=form.layout == "first")
    return replace(found, dtype=jnp.dtype(form.dtype))
