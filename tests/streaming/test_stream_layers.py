"""Streamed layers give what the layer gives of the whole signal, in both Flax APIs.

Numbers are small whole ones, so that every order of sums gives the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconvt
import jconvt.linen
import jconvt.nnx
from streams import cut, overlap_add


def whole(seed, shape, dtype=np.float32):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def whole_tree(tree):
    leaves, treedef = jax.tree.flatten(tree)
    news = [jnp.asarray(whole(i, a.shape), a.dtype) for i, a in enumerate(leaves)]
    return jax.tree.unflatten(treedef, news)


class Nnx:
    """Layers of NNX and their streams."""

    package = jconvt.nnx

    @staticmethod
    def layer(name, channels, *args, **fields):
        made = getattr(jconvt.nnx, name)(*channels, *args, **fields, rngs=nnx.Rngs(0))
        nnx.update(made, whole_tree(nnx.state(made, nnx.Param)))
        return made

    @staticmethod
    def at_once(layer, x):
        return layer(x)

    @staticmethod
    def streamed(layer, chunks, *, batch, space=(), **options):
        stream = jconvt.nnx.Streaming(layer, batch=batch, space=space, **options)
        return [*map(stream, chunks), stream.flush()], stream.delay


class Linen:
    """Layers of Linen with their variables, and their streams."""

    package = jconvt.linen

    @staticmethod
    def layer(name, channels, *args, **fields):
        if name == "ConvTranspose":
            channels = channels[1:]
        return getattr(jconvt.linen, name)(*channels, *args, **fields)

    @staticmethod
    def at_once(layer, x):
        return layer.apply(whole_tree(layer.init(jax.random.key(0), x)), x)

    @staticmethod
    def streamed(layer, chunks, *, batch, space=(), **options):
        del batch, space
        stream = jconvt.linen.Streaming(layer, **options)
        variables = stream.init(jax.random.key(0), chunks[0])
        assert not any(map(jnp.any, jax.tree.leaves(variables["stream"])))
        variables = {**variables, "params": whole_tree(variables["params"])}
        parts = []
        for chunk in chunks:
            y, state = stream.apply(variables, chunk, mutable=["stream"])
            parts.append(y)
            variables = variables | state
        return [*parts, stream.apply(variables, method="flush")], stream.delay


APIS = {"nnx": Nnx, "linen": Linen}

either = pytest.mark.parametrize("api", APIS.values(), ids=APIS)

# name: class, channels, other arguments, fields, signal, its axis of time, stream
CASES = {
    "causal": (
        "ConvTranspose1d",
        (4, 3),
        (6, 2),
        {"padding": "CAUSAL"},
        (2, 4, 9),
        2,
        {},
    ),
    "centred": ("ConvTranspose1d", (4, 6), (6, 2, 2), {"groups": 2}, (2, 4, 9), 2, {}),
    "unbatched": (
        "ConvTranspose1d",
        (4, 3),
        (5, 3),
        {"padding": "SAME"},
        (4, 9),
        1,
        {},
    ),
    "channels last": (
        "ConvTranspose1d",
        (4, 3),
        (4, 2),
        {
            "data_format": "NWC",
            "bias": False,
            "dilation": 3,
            "output_padding": 1,
            "padding": [(3, 1)],
        },
        (2, 9, 4),
        1,
        {},
    ),
    "a crop beyond a chunk": (
        "ConvTranspose1d",
        (4, 3),
        (9, 1, 8),
        {},
        (2, 4, 9),
        2,
        {},
    ),
    "lowering": (
        "ConvTranspose1d",
        (4, 3),
        (6, 2),
        {"lowering": jconvt.Lowerings(forward="phases")},
        (2, 4, 9),
        2,
        {},
    ),
    "planes": (
        "ConvTranspose2d",
        (4, 3),
        (4, 2, 1),
        {},
        (2, 4, 9, 5),
        2,
        {"space": (5,)},
    ),
    "the second axis": (
        "ConvTranspose2d",
        (4, 3),
        ((3, 4), 2, "SAME"),
        {"data_format": "NHWC"},
        (2, 5, 9, 4),
        2,
        {"space": (5,), "axis": 1},
    ),
    "video": (
        "ConvTranspose3d",
        (4, 3),
        ((3, 4, 4), (1, 2, 2), ("CAUSAL", 1, "CIRCULAR")),
        {},
        (2, 4, 9, 3, 4),
        2,
        {"space": (3, 4)},
    ),
    "drop-in": ("ConvTranspose", (4, 3), ((6,), 2), {}, (2, 9, 4), 1, {}),
    "drop-in unbatched": ("ConvTranspose", (4, 3), ((6,), 2), {}, (9, 4), 0, {}),
    "drop-in, valid": (
        "ConvTranspose",
        (4, 6),
        (3, 4),
        {"padding": "VALID", "transpose_kernel": True, "groups": 2},
        (2, 9, 4),
        1,
        {},
    ),
    "drop-in, groups": (
        "ConvTranspose",
        (4, 6),
        (3, 4),
        {"groups": 2, "use_bias": False},
        (2, 9, 4),
        1,
        {},
    ),
    "drop-in, causal": (
        "ConvTranspose",
        (4, 3),
        ((6,), 2),
        {"padding": ((5, 1),)},
        (2, 9, 4),
        1,
        {},
    ),
    "drop-in, mask": (
        "ConvTranspose",
        (4, 3),
        ((3,), 2),
        {"padding": 2, "kernel_dilation": 2, "mask": whole(9, (3, 4, 3)) > 0},
        (2, 9, 4),
        1,
        {},
    ),
    "drop-in, planes": (
        "ConvTranspose",
        (4, 3),
        ((4, 3), (2, 1)),
        {"padding": ("SAME", "CIRCULAR")},
        (2, 9, 5, 4),
        1,
        {"space": (5,)},
    ),
    "drop-in, volumes": (
        "ConvTranspose",
        (2, 3),
        ((2, 3, 2), (2, 1, 2)),
        {"padding": "VALID"},
        (2, 3, 9, 2, 2),
        2,
        {"space": (3, 2), "axis": 1},
    ),
}


def joined(parts, before, axis):
    y = np.concatenate([np.asarray(part) for part in parts], axis)
    zeros, result = np.split(y, [before], axis)
    assert not zeros.any()
    return result


@either
@pytest.mark.parametrize("case", CASES)
def test_chunks_give_what_the_whole_signal_gives(api, case):
    name, channels, args, fields, shape, time, options = CASES[case]
    layer, x = api.layer(name, channels, *args, **fields), whole(7, shape)
    batch = None if "unbatched" in case else shape[0]
    chunks = cut(x, [1, 4, 0], time)
    parts, before = api.streamed(layer, chunks, batch=batch, **options)
    desired = api.at_once(layer, x)
    assert {part.dtype for part in parts} == {desired.dtype}
    np.testing.assert_array_equal(joined(parts, before, time), desired)


@either
def test_chunks_give_the_definition(api):
    layer, x = (
        api.layer("ConvTranspose1d", (4, 6), 6, 2, 2, groups=2),
        whole(7, (2, 4, 9)),
    )
    parts, before = api.streamed(layer, cut(x, [3, 2], 2), batch=2)
    w, b = whole(1, (4, 3, 6)), whole(0, (6,))  # as `whole_tree` draws them
    desired = overlap_add(x, w, b, stride=2, crop=(2, 2), groups=2)
    np.testing.assert_array_equal(joined(parts, before, 2), desired)
