"""An existing model's layers, changed from Flax's to this library's."""

import warnings
from typing import cast

from flax import nnx
from flax.typing import PathParts

from jconvt._call.lowerings import Lowerings
from jconvt._call.tracebacks import ends_traceback
from jconvt._choice.pinned import check_names
from jconvt._layers.flax import EXTRAS
from jconvt.nnx._drop_in import ConvTranspose


@ends_traceback
def replace_conv_transpose(
    model: nnx.Module, *, lowering: str | Lowerings = "auto"
) -> dict[PathParts, ConvTranspose]:
    """Let this library compute every `flax.nnx.ConvTranspose` of a model, in place.

    Each such layer, wherever it is (attributes, `nnx.List` and `nnx.Dict`, tuples, the
    model itself), becomes a `jconvt.nnx.ConvTranspose`. It stays the same object with
    the same Variables: a layer in several places stays shared, and every reference to
    it, or to its parameters, stays valid. The model's state keeps its paths, so that

    - an `nnx.Optimizer` goes on, made before or after;
    - checkpoints of either model restore into the other;
    - a function under `nnx.jit` takes the model and is traced again.

    Change the model before it goes into a transformation or into `nnx.cached_partial`,
    which keeps the classes that it has seen: inside `nnx.jit` Flax refuses to give
    back an object of another class. A model made inside may be changed there.

    Other subclasses of Flax's layer are left alone, with a warning that names them:
    what they have changed cannot be known.

    Args:
      model: any NNX module.
      lowering: that of the layers that are changed, a name or `jconvt.Lowerings`. With
        ``"lhs_dilation"`` each is a convolution of lax in a trace, which tools for JAX
        know.

    Returns:
      The layers that were changed, by their path in the model; a shared one once, by
      its first. Empty where there were none, as at a second call.

    Raises:
      TypeError: `model` is not an NNX module, or `lowering` of the wrong type.
      ValueError: `lowering` is not the name of one, or has an entry that is not.

    Example:
      >>> from flax import nnx
      >>> import jconvt.nnx
      >>> rngs = nnx.Rngs(0)
      >>> up = nnx.ConvTranspose(3, 4, (2, 2), 2, rngs=rngs)
      >>> model = nnx.Sequential(up, nnx.relu, nnx.Conv(4, 3, (3, 3), rngs=rngs))
      >>> list(jconvt.nnx.replace_conv_transpose(model))
      [('layers', 0)]
      >>> type(model.layers[0]) is jconvt.nnx.ConvTranspose, model.layers[0] is up
      (True, True)
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"replace_conv_transpose: `model` must be an nnx.Module; got "
            f"{type(model).__name__}. In Linen write jconvt.linen.ConvTranspose for "
            "linen.ConvTranspose; variables stay as they are."
        )
    fields = EXTRAS | {"lowering": check_names("replace_conv_transpose", lowering)}
    changed: dict[PathParts, ConvTranspose] = {}
    for path, node in list(nnx.iter_graph(model)):
        if type(node) is nnx.ConvTranspose:
            for name, value in fields.items():
                setattr(node, name, value)
            # A new object would have to be put wherever the old one is known, tuples
            # and closures included. The class adds methods alone.
            node.__class__ = ConvTranspose
            changed[path] = cast(ConvTranspose, node)
        elif isinstance(node, nnx.ConvTranspose) and not isinstance(
            node, ConvTranspose
        ):
            warnings.warn(
                f"replace_conv_transpose: {type(node).__qualname__} at {path} is left "
                f"as it is, a subclass of flax.nnx.ConvTranspose. Derive it from "
                f"jconvt.nnx.ConvTranspose instead.",
                stacklevel=3,
            )
    return changed
