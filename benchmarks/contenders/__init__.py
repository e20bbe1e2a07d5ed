"""The contenders: one function each, from a layer to a run that is ready to be timed.

Every contender computes the layer's own output (the race compares them before it times
them), on arrays in its own layout, made outside the timing. A contender that cannot
express a layer raises `Unsupported`, and its cell stays empty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import jax

from benchmarks.contenders import jax_functions, jax_layers, onnx_runtimes, pytorch
from benchmarks.contenders._prepared import Form, Prepared, Unsupported
from benchmarks.layers import Layer
from jconvt._lowerings.table import LOWERINGS

__all__ = [
    "CONTENDERS",
    "DTYPES",
    "LOWERING_CONTENDERS",
    "Contender",
    "Form",
    "Prepared",
    "Unsupported",
    "allow",
]

FLOATS = ("float32", "float64", "bfloat16", "float16")
DTYPES = (*FLOATS, "int8")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to compute a layer, and what it can do.

    Attributes:
      packages: what must be installed.
      make: from layer, dtype and whether gradients are wanted to a run.
      dtypes: those it takes.
      trains: whether it has gradients.
    """

    packages: tuple[str, ...]
    make: Callable[[Layer, str, bool], Prepared]
    dtypes: tuple[str, ...] = FLOATS
    trains: bool = True

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]

    def prepare(self, layer: Layer, dtype: str, train: bool) -> Prepared:
        """The run of `layer`; raises `Unsupported` where there is none."""
        if dtype not in self.dtypes or (train and not self.serves_training(dtype)):
            raise Unsupported
        return self.make(layer, dtype, train)

    def serves_training(self, dtype: str) -> bool:
        """Whether there are gradients: nobody has any of integers."""
        return self.trains and dtype in FLOATS


def allow(dtype: str) -> None:
    """Let JAX make arrays of `dtype`."""
    jax.config.update("jax_enable_x64", dtype == "float64")


def _of_form(form: Callable[[Layer, str], Form]) -> Callable[..., Prepared]:
    def make(layer: Layer, dtype: str, train: bool) -> Prepared:
        return form(layer, dtype).prepared(train)

    return make


def _in_jax(
    package: str, form: Callable[[Layer, str], Form], dtypes: tuple[str, ...] = FLOATS
) -> Contender:
    return Contender(packages=(package,), make=_of_form(form), dtypes=dtypes)


def _in_torch(channels_last: bool) -> Contender:
    make = partial(pytorch.torch, channels_last=channels_last)
    return Contender(packages=("torch",), make=make)


def _of_onnx(package: str, make: Callable[[Layer, str, bool], Prepared]) -> Contender:
    packages = (package, "onnx")
    return Contender(packages=packages, make=make, dtypes=("float32",), trains=False)


def _lowering(name: str) -> Contender:
    make = partial(jax_functions.jconvt_lowering, lowering=name)
    return Contender(packages=("jconvt",), make=make, dtypes=DTYPES)


CONTENDERS: dict[str, Contender] = {
    "jconvt": _in_jax("jconvt", jax_functions.jconvt_first, DTYPES),
    "jconvt NHWC": _in_jax("jconvt", jax_functions.jconvt_last, DTYPES),
    "torch": _in_torch(channels_last=False),
    "torch NHWC": _in_torch(channels_last=True),
    "native": _in_jax("jax", jax_functions.native, DTYPES),
    "flax": _in_jax("flax", jax_layers.flax),
    "equinox": _in_jax("equinox", jax_layers.equinox),
    "haiku": _in_jax("haiku", jax_layers.haiku),
    "keras": _in_jax("keras", jax_layers.keras),
    "onnxruntime": _of_onnx("onnxruntime", onnx_runtimes.onnxruntime),
    "openvino": _of_onnx("openvino", onnx_runtimes.openvino),
}
"""Name -> contender: the race."""

LOWERING_CONTENDERS: dict[str, Contender] = {
    f"jconvt:{name}": _lowering(name) for name in LOWERINGS
}
"""jconvt's lowerings one by one, with which ``--lowerings`` widens the race."""
