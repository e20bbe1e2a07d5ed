"""Converters for trained layers, from other frameworks and back.

``from_*`` reads a layer of another framework into a `PortedLayer`, which computes what
the source computes, in the source's data layout. ``to_*`` makes a layer of another
framework of it. A framework is imported when its function is called, MindSpore never,
and nothing here unpickles.

`fold_batch_norm` folds a batch norm behind a layer into its weight and bias.

An output size that a source fixes (Haiku, ONNX) becomes a padding of the target, which
then accepts other inputs too.

========================  ============================  ========  ====================
framework                 its weight                    taps      groups
========================  ============================  ========  ====================
PyTorch, MindSpore, ONNX  ``(C_in, C_out/groups, *K)``  as here   yes
Keras                     ``(*K, C_out, C_in)``         as here   no
Flax                      ``(*K, C_in, C_out)``         reversed  no
Flax, transpose_kernel    ``(*K, C_out, C_in)``         as here   no
Haiku                     ``(*K, C_out, C_in)``         reversed  no
Equinox                   ``(C_out, C_in/groups, *K)``  reversed  yes, roles exchanged
========================  ============================  ========  ====================

Paddle, MLX, oneDNN and Core ML need no converter: their paddings are PyTorch's or
pairs, and their layouts are `dimension_numbers` of `jconvt.conv_transpose`. (Paddle's
``"SAME"`` is that of a convolution of the input's size, and its ``"VALID"`` is 0: give
numbers.)
"""

from jconvt.interop._batch_norm import fold_batch_norm
from jconvt.interop._equinox import from_equinox, to_equinox
from jconvt.interop._flax import from_flax, to_flax
from jconvt.interop._haiku import from_haiku
from jconvt.interop._keras import from_keras
from jconvt.interop._mindspore import from_mindspore
from jconvt.interop._onnx import from_onnx
from jconvt.interop._onnx_model import from_onnx_model
from jconvt.interop._ported import PortedLayer
from jconvt.interop._to_onnx import to_onnx
from jconvt.interop._to_torch import to_torch
from jconvt.interop._torch import from_torch
from jconvt.interop._torch_model import from_torch_model

__all__ = [
    "PortedLayer",
    "fold_batch_norm",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_keras",
    "from_mindspore",
    "from_onnx",
    "from_onnx_model",
    "from_torch",
    "from_torch_model",
    "to_equinox",
    "to_flax",
    "to_onnx",
    "to_torch",
]
