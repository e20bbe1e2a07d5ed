"""The contenders: one function each, from a layer to runs that are ready to be timed.

Every contender computes the layer's own output (checked against jconvt before the
race), on arrays in its own layout, made outside the timing. A contender that cannot
express a layer raises `Unsupported`, and its cell stays empty.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jconvt
from benchmarks.layers import Layer
from benchmarks.timing import Run

Array = Any
Prepared = tuple[Run, Callable[[], np.ndarray]]
"""A run, and the output in channels-first for the check."""


class Unsupported(Exception):
    """The contender cannot express this layer."""


def _jax_runs(
    forward: Callable[..., jax.Array], arrays: list[jax.Array], train: bool, last: bool
) -> Prepared:
    """Runs of a function of (input, weight, bias); `arrays` ends with the cotangent."""
    *operands, cotangent = arrays
    step = jax.jit(forward)
    if train:

        def both(cotangent: jax.Array, *operands: jax.Array) -> Any:
            y, vjp = jax.vjp(forward, *operands)
            return y, vjp(cotangent)

        backward = jax.jit(both)
        run = partial(_block, backward, cotangent, *operands)
    else:
        run = partial(_block, step, *operands)

    def output() -> np.ndarray:
        y = np.asarray(step(*operands), np.float32)
        return np.moveaxis(y, -1, 1) if last else y

    return run, output


def _block(function: Callable[..., Any], *arrays: jax.Array) -> Any:
    return jax.block_until_ready(function(*arrays))


def _arrays(layer: Layer, dtype: Any, last: bool = False) -> list[jax.Array]:
    made = {k: jnp.asarray(v, dtype) for k, v in layer.arrays().items()}
    if last:
        for name in ("input", "cotangent"):
            made[name] = jnp.asarray(np.moveaxis(np.asarray(made[name]), 1, -1))
    return [made[name] for name in ("input", "weight", "bias", "cotangent")]


def jconvt_first(layer: Layer, dtype: Any, train: bool, lowering: str) -> Prepared:
    """jconvt, channels first."""
    forward = partial(jconvt.conv_transpose, lowering=lowering, **layer.options)
    return _jax_runs(forward, _arrays(layer, dtype), train, last=False)


def jconvt_last(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """jconvt, channels last; the weight in PyTorch's layout."""
    space = "DHW"[3 - layer.rank :]
    forward = partial(
        jconvt.conv_transpose,
        dimension_numbers=(f"N{space}C", f"IO{space}", f"N{space}C"),
        **layer.options,
    )
    return _jax_runs(forward, _arrays(layer, dtype, last=True), train, last=True)


def native(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """`lax.conv_general_dilated` with ``lhs_dilation``, differentiated by JAX."""

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        groups, rank = layer.groups, layer.rank
        c_in, c_out, *taps = w.shape
        w = w.reshape(groups, c_in // groups, c_out, *taps).swapaxes(0, 1)
        w = w.reshape(c_in // groups, groups * c_out, *taps)
        space = "DHW"[3 - rank :]
        y = lax.conv_general_dilated(
            x,
            jnp.flip(w, range(2, w.ndim)),
            (1,) * rank,
            _dilated_pads(layer),
            lhs_dilation=layer.stride,
            rhs_dilation=layer.dilation,
            dimension_numbers=(f"NC{space}", f"IO{space}", f"NC{space}"),
            feature_group_count=groups,
        )
        return y + b.reshape(-1, *(1,) * rank)

    return _jax_runs(forward, _arrays(layer, dtype), train, last=False)


def _dilated_pads(layer: Layer) -> list[tuple[int, int]]:
    """The crop as zeros around the dilated input: what lax, Flax and Haiku pad."""
    return [
        (e - 1 - p, e - 1 - p + a)
        for e, p, a in zip(
            layer.extent, layer.padding, layer.output_padding, strict=True
        )
    ]


def flax(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """Flax's `nnx.ConvTranspose`: channels last, its kernel (*K, C_in, C_out)."""
    from flax import nnx

    if layer.groups > 1:
        raise Unsupported
    module = nnx.ConvTranspose(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        strides=layer.stride,
        padding=_dilated_pads(layer),
        kernel_dilation=layer.dilation,
        dtype=dtype,
        param_dtype=dtype,
        rngs=nnx.Rngs(0),
    )
    graph, _ = nnx.split(module)

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        state = nnx.State({"kernel": nnx.Param(w), "bias": nnx.Param(b)})
        return nnx.merge(graph, state)(x)

    x, w, b, cotangent = _arrays(layer, dtype, last=True)
    return _jax_runs(forward, [x, _flax_kernel(w), b, cotangent], train, last=True)


def _flax_kernel(w: jax.Array) -> jax.Array:
    flipped = jnp.flip(w, range(2, w.ndim))
    return jnp.moveaxis(flipped, (0, 1), (-2, -1))


def haiku(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """Haiku's `ConvNDTranspose`, channels last, its kernel (*K, C_out, C_in)."""
    import haiku as hk

    if layer.groups > 1 or any(d > 1 for d in layer.dilation):
        raise Unsupported

    def module(x: jax.Array) -> jax.Array:
        return hk.ConvNDTranspose(
            layer.rank,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=_dilated_pads(layer),
        )(x)

    transformed = hk.without_apply_rng(hk.transform(module))

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return transformed.apply({"conv_nd_transpose": {"w": w, "b": b}}, x)

    x, w, b, cotangent = _arrays(layer, dtype, last=True)
    kernel = jnp.swapaxes(_flax_kernel(w), -1, -2)
    return _jax_runs(forward, [x, kernel, b, cotangent], train, last=True)


def equinox(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """Equinox's `ConvTranspose` under `vmap`, channels first."""
    import equinox as eqx

    if any(a >= s for a, s in zip(layer.output_padding, layer.stride, strict=True)):
        raise Unsupported
    module = eqx.nn.ConvTranspose(
        layer.rank,
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=layer.groups,
        dtype=dtype,
        key=jax.random.key(0),
    )

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        bias = b.reshape(-1, *(1,) * layer.rank)
        filled = eqx.tree_at(lambda m: (m.weight, m.bias), module, (w, bias))
        return jax.vmap(filled)(x)

    x, w, b, cotangent = _arrays(layer, dtype)
    groups, c_in = layer.groups, layer.in_channels
    w = jnp.flip(w, range(2, w.ndim))
    w = w.reshape(groups, c_in // groups, -1, *layer.kernel_size).swapaxes(1, 2)
    w = w.reshape(layer.out_channels, c_in // groups, *layer.kernel_size)
    return _jax_runs(forward, [x, w, b, cotangent], train, last=False)


def keras(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """`keras.ops.conv_transpose` on JAX: "valid", then cropped to the same output."""
    os.environ["KERAS_BACKEND"] = "jax"
    from keras import ops

    if layer.groups > 1 or any(
        s > 1 and d > 1 for s, d in zip(layer.stride, layer.dilation, strict=True)
    ):
        raise Unsupported
    crop = tuple(
        slice(p, p + n)
        for p, n in zip(layer.padding, layer.output_spatial, strict=True)
    )
    missing = [
        max(0, p + n - ((i - 1) * s + max(e, s)))
        for p, n, i, s, e in zip(
            layer.padding,
            layer.output_spatial,
            layer.spatial,
            layer.stride,
            layer.extent,
            strict=True,
        )
    ]

    def forward(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        y = ops.conv_transpose(
            x, w, strides=layer.stride, padding="valid", dilation_rate=layer.dilation
        )
        y = jnp.pad(y, [(0, 0), *((0, m) for m in missing), (0, 0)])
        return y[(slice(None), *crop)] + b

    x, w, b, cotangent = _arrays(layer, dtype, last=True)
    kernel = jnp.moveaxis(w, (0, 1), (-1, -2))
    return _jax_runs(forward, [x, kernel, b, cotangent], train, last=True)


def torch(layer: Layer, dtype: Any, train: bool, channels_last: bool) -> Prepared:
    """PyTorch's functional transposed convolution."""
    import torch as pt

    formats = {2: pt.channels_last, 3: pt.channels_last_3d}
    if channels_last and layer.rank not in formats:
        raise Unsupported
    made: dict[str, Any] = {
        k: pt.tensor(v).to(getattr(pt, jnp.dtype(dtype).name))
        for k, v in layer.arrays().items()
    }
    if channels_last:
        for name in ("input", "weight", "cotangent"):
            made[name] = made[name].to(memory_format=formats[layer.rank])
    operands = [made[k] for k in ("input", "weight", "bias")]
    function = getattr(pt.nn.functional, f"conv_transpose{layer.rank}d")

    def forward() -> Any:
        return function(*operands, **layer.options)

    def run_forward() -> Any:
        with pt.no_grad():
            return forward()

    def run_train() -> None:
        for operand in operands:
            operand.requires_grad_().grad = None
        forward().backward(made["cotangent"])

    run = run_train if train else run_forward
    return run, lambda: run_forward().float().numpy()


def onnxruntime(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """ONNX Runtime's ConvTranspose, two threads."""
    import onnxruntime as ort

    _inference_float32(dtype, train)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(
        _onnx_model(layer).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    feed = {"x": layer.arrays()["input"]}

    def run() -> np.ndarray:
        return session.run(None, feed)[0]

    return run, run


def openvino(layer: Layer, dtype: Any, train: bool) -> Prepared:
    """OpenVINO on the same ONNX model, for latency, two threads, float32."""
    import openvino as ov

    _inference_float32(dtype, train)
    core = ov.Core()
    model = core.read_model(_onnx_model(layer).SerializeToString(), b"")
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": 2,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(layer.arrays()["input"]))

    def run() -> None:
        request.infer()

    def output() -> np.ndarray:
        run()
        return request.get_output_tensor().data

    return run, output


def _inference_float32(dtype: Any, train: bool) -> None:
    if train or jnp.dtype(dtype) != jnp.float32:
        raise Unsupported


def _onnx_model(layer: Layer) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    arrays = layer.arrays()
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"],
        ["y"],
        strides=layer.stride,
        pads=layer.padding * 2,
        output_padding=layer.output_padding,
        dilations=layer.dilation,
        group=layer.groups,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.output_shape)],
        [
            numpy_helper.from_array(arrays["weight"], "w"),
            numpy_helper.from_array(arrays["bias"], "b"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


Contender = Callable[[Layer, Any, bool], Prepared]

CONTENDERS: dict[str, tuple[str, Contender]] = {
    "jconvt": ("jconvt", partial(jconvt_first, lowering="auto")),
    "jconvt NHWC": ("jconvt", jconvt_last),
    "torch": ("torch", partial(torch, channels_last=False)),
    "torch NHWC": ("torch", partial(torch, channels_last=True)),
    "native": ("jax", native),
    "flax": ("flax", flax),
    "equinox": ("equinox", equinox),
    "haiku": ("haiku", haiku),
    "keras": ("keras", keras),
    "onnxruntime": ("onnxruntime", onnxruntime),
    "openvino": ("openvino", openvino),
}
"""Name -> (the package it needs, the contender)."""


def available(names: list[str] | None = None) -> dict[str, Contender]:
    """The contenders whose package is there, of `names` or of all."""
    return {
        name: contender
        for name, (package, contender) in CONTENDERS.items()
        if (names is None or name in names) and find_spec(package) is not None
    }
