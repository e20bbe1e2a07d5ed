"""jconvt: transposed convolution for JAX, exact, fast and at home in Flax.

Functions are here; Flax layers are in `jconvt.nnx` and `jconvt.linen`, which are
imported on their own, so that `import jconvt` imports no Flax. `jconvt.sharding` is for
arrays whose space lies on several devices.
"""

import typing

from jconvt._call.lowerings import Lowerings
from jconvt._functional import (
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from jconvt._shapes import output_shape

if typing.TYPE_CHECKING:
    from jconvt._explain import explain
    from jconvt._explanation import Candidate, Estimate, Explanation
    from jconvt._tune.report import TunedMap, TuneReport
    from jconvt._tune.tune import tune
    from jconvt._tune.tuned import Tuned

# Here and nowhere else: the build reads this line. A checkout on PYTHONPATH may have no
# metadata of an installation, or those of another version.
__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "Estimate",
    "Explanation",
    "Lowerings",
    "TuneReport",
    "Tuned",
    "TunedMap",
    "__version__",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "explain",
    "output_shape",
    "tune",
]


_LAYERS = (
    *("ConvTranspose", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    *("SpectralNorm", "Streaming", "WeightNorm"),
)

_MODULES: dict[str, tuple[str, ...]] = {
    "initializers": ("bilinear", "icnr", "torch_uniform"),
    "interop": (
        "PortedLayer",
        "fold_batch_norm",
        *("from_equinox", "from_flax", "from_haiku", "from_keras", "from_mindspore"),
        *("from_onnx", "from_onnx_model", "from_torch", "from_torch_model"),
        *("to_equinox", "to_flax", "to_onnx", "to_torch"),
    ),
    "nnx": (*_LAYERS, "StreamState", "replace_conv_transpose"),
    "linen": _LAYERS,
    "plot": ("lowerings", "overlap", "scatter"),
    "sharding": (),
    "streaming": (
        *("State", "delay", "flush", "init", "masked_flush", "masked_step"),
        *("reset", "stack_delays", "step"),
    ),
}
"""Modules that `import jconvt` leaves alone -> their names that jconvt itself lacks."""

_FOREIGN = {
    **{f"conv{n}d_transpose": f"conv_transpose{n}d" for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": f"ConvTranspose{n}d" for n in (1, 2, 3)},
    **{f"deconv{n}d": f"conv_transpose{n}d" for n in (1, 2, 3)},
    **{f"Deconvolution{n}D": f"ConvTranspose{n}d" for n in (1, 2, 3)},
    **dict.fromkeys(
        ("deconv", "deconvolution", "functional", "upsample", "upsampling"),
        "conv_transpose",
    ),
}
"""Names in other libraries -> ours."""


def __getattr__(name: str) -> typing.Any:
    """Loads `explain` and `tune` when asked for, since they need all lowerings."""
    if name in ("Candidate", "Estimate", "Explanation", "explain"):
        from jconvt import _explain

        return getattr(_explain, name)
    if name in ("TuneReport", "Tuned", "TunedMap", "tune"):
        from jconvt._tune import tune

        return getattr(tune, name)
    # Without `obj`, or Python would add a suggestion of its own to the traceback.
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}{_hint(name)}", name=name
    )


def _hint(name: str) -> str:
    """Where `name` is, or what was probably meant."""
    if name in _MODULES:
        return f"; `import jconvt.{name}` first"
    if place := _place(name):
        return f"; it is in {place}: `import {place.split()[0]}`"
    from difflib import get_close_matches

    known = {*__all__, *_MODULES}.union(*_MODULES.values())
    for meant in get_close_matches(_FOREIGN.get(name, name), known, n=1):
        place = _place(meant)
        return f". Did you mean: {meant!r}{place and f', in {place}'}?"
    return ""


def _place(name: str) -> str:
    """``"jconvt.nnx and jconvt.linen"`` for a layer, ``""`` for what is here."""
    return " and ".join(f"jconvt.{m}" for m, names in _MODULES.items() if name in names)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
