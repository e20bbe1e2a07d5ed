"""Every rule on what a caller may write, and the message that names its breach.

Messages are compared whole. What is wrong is said before anything is traced, and by
this library: never by lax, XLA, NumPy or Python's arithmetic.
"""

import itertools
import re
import traceback
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.extend.core import primitives

import jconvt
from jconvt._lowerings.table import LOWERINGS
from jconvt._maps.primitive import PRIMITIVES

RANKS = {
    "conv_transpose": 2,
    "conv_transpose1d": 1,
    "conv_transpose2d": 2,
    "conv_transpose3d": 3,
    "output_shape": 2,
}
FRONTS = list(RANKS)
GENERAL = ["conv_transpose", "output_shape"]
FIXED = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
WITH_ARRAYS = ["conv_transpose", *FIXED]


def call(front, space=5, **options):
    """The front door with arrays (or shapes) that fit, or those given instead."""
    rank = RANKS[front]
    shapes = {"input": (2, 4) + (space,) * rank, "weight": (4, 6) + (3,) * rank}
    function = getattr(jconvt, front)
    if front == "output_shape":
        given = [options.pop(f"{name}_shape", shapes[name]) for name in shapes]
    else:
        given = [
            options.pop(n) if n in options else np.ones(shapes[n], np.float32)
            for n in shapes
        ]
    return function(*given, **options)


def check(front, error, message, **options):
    """The call raises exactly this, with one argument, by this package."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call(front, **options)
    assert str(caught.value) == f"{front}: {message}"
    assert type(caught.value) is error
    assert len(caught.value.args) == 1
    assert_ours(caught.value)


def assert_ours(error):
    """Nothing below the caller is shown, as of all that the package itself raises."""
    frames = traceback.extract_tb(error.__traceback__)
    assert frames[-1].filename == __file__, frames[-1]


@pytest.fixture
def nothing_bound(monkeypatch):
    """No convolution and no product may be traced, and none of ours."""

    def bind(*args, **params):
        raise AssertionError("traced before the check")

    theirs = (primitives.conv_general_dilated_p, primitives.dot_general_p)
    for primitive in (*theirs, *PRIMITIVES.values()):
        monkeypatch.setattr(primitive, "bind", bind)


def test_the_fixture_sees_a_trace(nothing_bound):
    """Canary of the fixture."""
    with pytest.raises(AssertionError, match="traced before the check"):
        jax.eval_shape(partial(call, "conv_transpose", space=17))


# Kinds: one row a kind, for each option that takes ints -------------------------------

NOT_INTS = {
    "None": None,
    "bool": True,
    "float": 2.0,
    "complex": 2j,
    "str": "2",
    "bytes": b"2",
    "np.float64": np.float64(2),
    "np.bool": np.bool_(1),
    "np array": np.array(2),
    "np array 1d": np.array([2, 2]),
    "jax array": jnp.array(2),
    "set": {2},
    "dict": {2: 2},
    "range": range(2),
    "type": int,
}
SINGLE_INT = "must be an int"
INT_OR_INTS = "must be an int or a tuple or list of {rank} ints"
KINDS = {  # option: (rule, fronts, kinds it does take)
    "stride": (INT_OR_INTS, FRONTS, ()),
    "dilation": (INT_OR_INTS, FRONTS, ()),
    "output_padding": (INT_OR_INTS, FRONTS, ()),
    "groups": (SINGLE_INT, FRONTS, ()),
    "output_size": (
        "must be None, an int or a tuple or list of {rank} ints",
        FRONTS,
        ("None",),
    ),
    "padding": (
        "must be an int, a tuple or list of {rank} ints or (low, high) pairs, or a "
        "string",
        GENERAL,
        ("str",),
    ),
}


@pytest.mark.parametrize("kind", NOT_INTS)
@pytest.mark.parametrize("option", KINDS)
def test_kind_of_an_option(option, kind, nothing_bound):
    rule, fronts, taken = KINDS[option]
    if kind in taken:
        return
    value = NOT_INTS[kind]
    for front in fronts:
        what = f"`{option}` {rule.format(rank=RANKS[front])}"
        shown = f"{value!r} of type {type(value).__name__}"
        check(front, TypeError, f"{what}; got {shown}.", **{option: value})


@pytest.mark.parametrize("kind", NOT_INTS)
@pytest.mark.parametrize("option", [name for name in KINDS if name != "groups"])
def test_kind_of_an_element(option, kind, nothing_bound):
    value = NOT_INTS[kind]
    if (option, kind) == ("padding", "str"):
        return  # a name of one axis: `test_paddings.py`
    for front, container in itertools.product(KINDS[option][1], (tuple, list)):
        rank = RANKS[front]
        given = container([2] * (rank - 1) + [value])
        if option == "output_size":
            given = container([11] * (rank - 1) + [value])
        check(
            front,
            TypeError,
            f"`{option}[{rank - 1}]` must be an int; got {value!r} of type "
            f"{type(value).__name__}.",
            **{option: given},
        )


@pytest.mark.parametrize("kind", NOT_INTS)
def test_kind_of_the_seeds_padding(kind, nothing_bound):
    value = NOT_INTS[kind]
    hint = " Strings and (low, high) pairs are for jconvt.conv_transpose."
    for front in FIXED:
        rule = f"`padding` {INT_OR_INTS.format(rank=RANKS[front])}"
        shown = f"{value!r} of type {type(value).__name__}"
        given = f"{rule}; got {shown}.{hint if kind == 'str' else ''}"
        check(front, TypeError, given, padding=value)


def test_a_generator_is_no_tuple(nothing_bound):
    for front, option in itertools.product(FRONTS, ("stride", "dilation")):
        values = (2 for _ in range(RANKS[front]))
        rule = INT_OR_INTS.format(rank=RANKS[front])
        shown = f"{values!r} of type generator"
        check(front, TypeError, f"`{option}` {rule}; got {shown}.", **{option: values})


def test_a_traced_number_is_no_int():
    @jax.jit
    def traced(stride):
        return call("conv_transpose2d", stride=stride)

    rule = "conv_transpose2d: `stride` must be an int or a tuple or list of 2 ints; got"
    with pytest.raises(TypeError, match=f"^{re.escape(rule)} .*Tracer"):
        traced(2)


# Lengths ------------------------------------------------------------------------------

LENGTHS = {
    "stride": "ints",
    "dilation": "ints",
    "output_padding": "ints",
    "output_size": "ints",
    "padding": "ints, (low, high) pairs or names",
}


@pytest.mark.parametrize("option", LENGTHS)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4])
def test_length_of_an_option(option, length, nothing_bound):
    """Also a length of 1, which PyTorch spreads and the seed refuses."""
    for front in FRONTS:
        rank = RANKS[front]
        items = LENGTHS[option] if front in GENERAL else "ints"
        for value in ((1,) * length, [1] * length):
            if length != rank:
                check(
                    front,
                    ValueError,
                    f"`{option}` must hold {rank} {items}, one for each spatial axis; "
                    f"got {length}: {value!r}.",
                    **{option: value},
                )


# Values: (fronts, options, exception, message) ----------------------------------------

WANTS = "must be smaller than `stride` or `dilation` on every spatial axis"
VALUES = {
    # one number for all axes
    "stride 0": (FRONTS, {"stride": 0}, "`stride` must be at least 1; got 0."),
    "stride -2": (FRONTS, {"stride": -2}, "`stride` must be at least 1; got -2."),
    "stride np 0": (
        FRONTS,
        {"stride": np.int8(0)},
        "`stride` must be at least 1; got 0.",
    ),
    "dilation 0": (FRONTS, {"dilation": 0}, "`dilation` must be at least 1; got 0."),
    "dilation -1": (FRONTS, {"dilation": -1}, "`dilation` must be at least 1; got -1."),
    "padding -1": (FRONTS, {"padding": -1}, "`padding` must be at least 0; got -1."),
    "output_padding -1": (
        FRONTS,
        {"output_padding": -1},
        "`output_padding` must be at least 0; got -1.",
    ),
    "output_size -1": (
        FRONTS,
        {"output_size": -1},
        "`output_size` must be at least 0; got -1.",
    ),
    "groups 0": (FRONTS, {"groups": 0}, "`groups` must be at least 1; got 0."),
    "groups -2": (FRONTS, {"groups": -2}, "`groups` must be at least 1; got -2."),
    "groups 3": (
        FRONTS,
        {"groups": 3},
        "the input channels must be divisible by `groups`; got 4 channels and "
        "groups=3.",
    ),
    # one number an axis
    "stride (2, 0)": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"stride": (2, 0)},
        "`stride[1]` must be at least 1; got 0.",
    ),
    "padding [1, -1]": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"padding": [1, -1]},
        "`padding[1]` must be at least 0; got -1.",
    ),
    "dilation (0, 1)": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"dilation": (0, 1)},
        "`dilation[0]` must be at least 1; got 0.",
    ),
    "output_padding (0, -1)": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"output_padding": (0, -1)},
        "`output_padding[1]` must be at least 0; got -1.",
    ),
    "output_size (11, -1)": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"output_size": (11, -1)},
        "`output_size[1]` must be at least 0; got -1.",
    ),
    # more than can be meant
    "stride huge": (
        FRONTS,
        {"stride": 2**31},
        "`stride` must not be larger than 2147483647; got 2147483648.",
    ),
    "dilation huge": (
        FRONTS,
        {"dilation": 10**30},
        f"`dilation` must not be larger than 2147483647; got {10**30}.",
    ),
    "padding huge": (
        FRONTS,
        {"padding": 10**30},
        f"`padding` must not be larger than 2147483647; got {10**30}.",
    ),
    "padding pair huge": (
        GENERAL,
        {"padding": [(0, 0), (-(2**63), 2**63)]},
        f"`padding` must not be larger than 2147483647; got {-(2**63)}.",
    ),
    "groups huge": (
        FRONTS,
        {"groups": 2**31},
        "`groups` must not be larger than 2147483647; got 2147483648.",
    ),
    # output_padding and output_size
    "output_padding 1": (
        FRONTS,
        {"output_padding": 1},
        f"`output_padding` {WANTS}; on axis 0 got output_padding 1, stride 1, "
        "dilation 1.",
    ),
    "output_padding 3": (
        FRONTS,
        {"output_padding": 3, "stride": 3, "dilation": 2},
        f"`output_padding` {WANTS}; on axis 0 got output_padding 3, stride 3, "
        "dilation 2.",
    ),
    "output_padding (1, 2)": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"output_padding": (1, 2), "stride": 2},
        f"`output_padding` {WANTS}; on axis 1 got output_padding 2, stride 2, "
        "dilation 1.",
    ),
    "output_size below": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"output_size": 10, "stride": 2},
        "`output_size` must lie between (11, 11) and (12, 12) for an input of spatial "
        "size (5, 5); got (10, 10).",
    ),
    "output_size above": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"output_size": (12, 13), "stride": 2},
        "`output_size` must lie between (11, 11) and (12, 12) for an input of spatial "
        "size (5, 5); got (12, 13).",
    ),
    "output_size 1d": (
        ["conv_transpose1d"],
        {"output_size": 100, "stride": 3, "padding": 1},
        "`output_size` must lie between (13,) and (15,) for an input of spatial size "
        "(5,); got (100,).",
    ),
    "output_size 3d": (
        ["conv_transpose3d"],
        {"output_size": (7, 7, 6)},
        "`output_size` must lie between (7, 7, 7) and (7, 7, 7) for an input of "
        "spatial size (5, 5, 5); got (7, 7, 6).",
    ),
    "output_size SAME": (
        GENERAL,
        {"output_size": 9, "stride": 2, "padding": "SAME"},
        "`output_size` must lie between (10, 10) and (11, 11) for an input of spatial "
        "size (5, 5); got (9, 9).",
    ),
    "output_size CIRCULAR": (
        GENERAL,
        {"output_size": 11, "stride": 2, "padding": "CIRCULAR"},
        "`output_size` must lie between (10, 10) and (10, 10) for an input of spatial "
        "size (5, 5); got (11, 11).",
    ),
    "output_size with output_padding": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"output_size": 12, "output_padding": (0, 1), "stride": 2},
        "`output_padding` must be 0 where `output_size` is given, which determines it; "
        "got output_padding (0, 1) and output_size (12, 12).",
    ),
    "output_padding CIRCULAR": (
        GENERAL,
        {"padding": "circular", "output_padding": 1, "stride": 2},
        "`output_padding` must be 0 with padding 'CIRCULAR', whose output is n*stride; "
        "got 1.",
    ),
    # the crop
    "negative size": (
        ["conv_transpose", "conv_transpose2d", "output_shape"],
        {"padding": (3, 4)},
        "the output size must not be negative; got (1, -1) for an input of spatial "
        "size (5, 5). Use a smaller `padding`.",
    ),
    "negative size 1d": (
        ["conv_transpose1d"],
        {"padding": 1000},
        "the output size must not be negative; got (-1993,) for an input of spatial "
        "size (5,). Use a smaller `padding`.",
    ),
    "negative size of a pair": (
        GENERAL,
        {"padding": [(0, 0), (9, -1)]},
        "the output size must not be negative; got (7, -1) for an input of spatial "
        "size (5, 5). Use a smaller `padding`.",
    ),
    "padding name": (
        GENERAL,
        {"padding": "FULL"},
        "`padding` must be an int, 2 ints, 2 (low, high) pairs or one of VALID, SAME, "
        "SAME_LOWER, CAUSAL, CIRCULAR, CIRCULAR_LOWER; got 'FULL'.",
    ),
    "padding no name": (
        GENERAL,
        {"padding": ""},
        "`padding` must be an int, 2 ints, 2 (low, high) pairs or one of VALID, SAME, "
        "SAME_LOWER, CAUSAL, CIRCULAR, CIRCULAR_LOWER; got ''.",
    ),
    "padding triple": (
        GENERAL,
        {"padding": [1, (1, 2, 3)]},
        "`padding[1]` must be an int or a (low, high) pair; got (1, 2, 3).",
    ),
    "padding single": (
        GENERAL,
        {"padding": [[1], 2]},
        "`padding[0]` must be an int or a (low, high) pair; got [1].",
    ),
    "padding one pair for all": (
        GENERAL,
        {"padding": [(1, 1)]},
        "`padding` must hold 2 ints, (low, high) pairs or names, one for each spatial "
        "axis; got 1: [(1, 1)].",
    ),
    # words
    "lowering name": (
        FRONTS,
        {"lowering": "quickest"},
        f"`lowering` must be one of auto, {', '.join(LOWERINGS)}; got 'quickest'.",
    ),
    **{
        f"lowering {written}": (
            FRONTS,
            {"lowering": written},
            f"`lowering` must be one of auto, {', '.join(LOWERINGS)}; got {written!r}. "
            f"Did you mean {meant!r}?",
        )
        for written, meant in (
            ("matmull", "matmul"),
            ("Winograd", "winograd"),
            ("lhs dilation", "lhs_dilation"),
            ("atuo", "auto"),
        )
    },
    **{
        f"padding {written}": (
            GENERAL,
            {"padding": written},
            "`padding` must be an int, 2 ints, 2 (low, high) pairs or one of VALID, "
            f"SAME, SAME_LOWER, CAUSAL, CIRCULAR, CIRCULAR_LOWER; got {written!r}. Did "
            f"you mean {meant!r}?",
        )
        for written, meant in (
            ("SMAE", "SAME"),
            ("casual", "CAUSAL"),
            ("SAME-LOWER", "SAME_LOWER"),
        )
    },
    "precision name": (
        FRONTS,
        {"precision": "low"},
        "`precision` must be one of 'default', 'high', 'highest' and their aliases in "
        "jax.lax.Precision; got 'low'.",
    ),
    "precision names": (
        FRONTS,
        {"precision": ("high", "low")},
        "`precision` must be one of 'default', 'high', 'highest' and their aliases in "
        "jax.lax.Precision; got ('high', 'low').",
    ),
    **{
        f"precision for {meant}, written {written}": (
            FRONTS,
            {"precision": written},
            "`precision` must be one of 'default', 'high', 'highest' and their aliases "
            f"in jax.lax.Precision; got {written!r}. Did you mean {meant!r}?",
        )
        for written, meant in (
            ("hihgest", "highest"),
            ("HIGHEST", "highest"),
            ("tensorflot32", "tensorfloat32"),
            (("high", "defualt"), "default"),
        )
    },
    "data_format of another rank": (
        ["conv_transpose2d", "output_shape"],
        {"data_format": "NCW"},
        "`data_format` must be 'NCHW' or 'NHWC'; got 'NCW'. Did you mean 'NCHW'?",
    ),
    "data_format 1d": (
        ["conv_transpose1d"],
        {"data_format": "nwc"},
        "`data_format` must be 'NCW' or 'NWC'; got 'nwc'. Did you mean 'NWC'?",
    ),
    **{
        f"data_format {written}": (
            FIXED[1:2],
            {"data_format": written},
            f"`data_format` must be 'NCHW' or 'NHWC'; got '{written}'.{hint}",
        )
        for written, hint in (
            ("NLC", " Did you mean 'NHWC'?"),
            ("channels_last", " Did you mean 'NHWC'?"),
            ("channels_first", " Did you mean 'NCHW'?"),
            ("CHW", " Did you mean 'NCHW'?"),
            ("CHWN", " Did you mean 'NCHW'?"),
            ("HWNO", ""),
            ("NCWH", " Did you mean 'NCHW'?"),
            ("SAME", ""),
            ("CAUSAL", ""),
            ("CIRCULAR", ""),
        )
    },
    "data_format 3d": (
        ["conv_transpose3d"],
        {"data_format": ""},
        "`data_format` must be 'NCDHW' or 'NDHWC'; got ''.",
    ),
    "two specs": (
        GENERAL,
        {"dimension_numbers": ("NCHW", "IOHW")},
        "`dimension_numbers` must hold three strings, for input, weight and output; "
        "got 2: ('NCHW', 'IOHW').",
    ),
    "spec of another rank": (
        GENERAL,
        {"dimension_numbers": ("NCW", "IOW", "NCW")},
        "`dimension_numbers` must name for the input each of N, C and 2 spatial "
        "letters once, the same letters in all three; got 'NCW' in ('NCW', 'IOW', "
        "'NCW'). Did you mean 'NCHW'?",
    ),
    "spec without I": (
        GENERAL,
        {"dimension_numbers": ("NCHW", "AOHW", "NCHW")},
        "`dimension_numbers` must name for the weight each of I, O and 2 spatial "
        "letters once, the same letters in all three; got 'AOHW' in ('NCHW', "
        "'AOHW', 'NCHW'). Did you mean 'IOHW'?",
    ),
    "spec with a misspelt letter": (
        GENERAL,
        {"dimension_numbers": ("NHWC", "HWIK", "NHWC")},
        "`dimension_numbers` must name for the weight each of I, O and 2 spatial "
        "letters once, the same letters in all three; got 'HWIK' in ('NHWC', 'HWIK', "
        "'NHWC'). Did you mean 'HWIO'?",
    ),
    "spec in lower case": (
        GENERAL,
        {"dimension_numbers": ("nxyc", "ioxy", "nxyc")},
        "`dimension_numbers` must name for the input each of N, C and 2 spatial "
        "letters once, the same letters in all three; got 'nxyc' in ('nxyc', 'ioxy', "
        "'nxyc').",
    ),
    "spec twice a letter": (
        GENERAL,
        {"dimension_numbers": ("NCHH", "IOHH", "NCHH")},
        "`dimension_numbers` must name for the input each of N, C and 2 spatial "
        "letters once, the same letters in all three; got 'NCHH' in ('NCHH', "
        "'IOHH', 'NCHH'). Did you mean 'NCHW'?",
    ),
    "spec of other letters": (
        GENERAL,
        {"dimension_numbers": ("NCHW", "IOHW", "NCXY")},
        "`dimension_numbers` must name for the output each of N, C and 2 spatial "
        "letters once, the same letters in all three; got 'NCXY' in ('NCHW', "
        "'IOHW', 'NCXY').",
    ),
    "spec of a weight of other letters": (
        GENERAL,
        {"dimension_numbers": ("NCHW", "IIHW", "NCHW")},
        "`dimension_numbers` must name for the weight each of I, O and 2 spatial "
        "letters once, the same letters in all three; got 'IIHW' in ('NCHW', "
        "'IIHW', 'NCHW'). Did you mean 'IOHW'?",
    ),
    "axes out of range": (
        GENERAL,
        {
            "dimension_numbers": lax.ConvDimensionNumbers(
                (0, 1, 2, 4), (1, 0, 2, 3), (0, 1, 2, 3)
            )
        },
        "`dimension_numbers` must name each of 4 axes once; got (0, 1, 2, 4) in "
        "ConvDimensionNumbers(lhs_spec=(0, 1, 2, 4), rhs_spec=(1, 0, 2, 3), "
        "out_spec=(0, 1, 2, 3)).",
    ),
    "two ways to say it": (
        ["output_shape"],
        {"data_format": "NCHW", "dimension_numbers": ("NCHW", "IOHW", "NCHW")},
        "`data_format` and `dimension_numbers` say the same; give one of them. Got "
        "'NCHW' and ('NCHW', 'IOHW', 'NCHW').",
    ),
    # shapes
    "channels": (
        ["output_shape"],
        {"input_shape": (2, 3, 5, 5)},
        "`input` must have as many channels as `weight` has input channels; got 3 on "
        "axis 1 of input (2, 3, 5, 5) and 4 on axis 0 of weight (4, 6, 3, 3). A weight "
        "is (C_in, C_out/groups, *kernel) unless `dimension_numbers` says otherwise.",
    ),
    "shape negative": (
        ["output_shape"],
        {"input_shape": (2, 4, -5, 5)},
        "`input_shape[2]` must be at least 0; got -5.",
    ),
    "rank of shapes": (
        ["output_shape"],
        {"input_shape": (2, 4, 5, 5, 5)},
        "`input` must have 4 axes (batched) or 3 (unbatched); got shape (2, 4, 5, 5, "
        "5). More leading axes are for jax.vmap.",
    ),
    "rank of weight": (
        ["output_shape"],
        {"weight_shape": (4,)},
        "`weight` must have at least the axes C_in and C_out/groups; got shape (4,).",
    ),
    "format of rank 4": (
        ["output_shape"],
        {"weight_shape": (4, 6, 3, 3, 3, 3), "data_format": "NCHW"},
        "`data_format` is for 1, 2 or 3 spatial axes; got 'NCHW' with 4. Use "
        "`dimension_numbers`.",
    ),
    "no taps": (
        ["output_shape"],
        {"weight_shape": (4, 6, 3, 0)},
        "`weight` must have at least one tap on every spatial axis; got shape (4, 6, "
        "3, 0).",
    ),
}

TEXT = "`{}` must be a string; got {!r}."
NUMBERS = (
    "`dimension_numbers` must be None, three strings such as ('NHWC', 'HWIO', 'NHWC') "
    "or a jax.lax.ConvDimensionNumbers; got {!r}."
)
PRECISION = (
    "`precision` must be None, a string, a jax.lax.Precision or two of them; got {!r}."
)
SHAPE = "`{}` must be a tuple or list of ints; got {}."
PREFERRED = (
    "`preferred_element_type` must be of the operands' kind (integers may also give "
    "floats) and no narrower; got {} for operands of dtype float32."
)


def with_axes(junk):
    """lax's own record, which holds whatever it is given."""
    return lax.ConvDimensionNumbers((0, 1, 2, 3), junk, (0, 1, 2, 3))


WRONG_KINDS = {
    **{
        f"padding[1] {pair}": (
            GENERAL,
            {"padding": [0, pair]},
            f"`padding[1]` must hold two ints; got {pair[0]!r} of type {kind}.",
        )
        for pair, kind in [
            *(((None, 1), "NoneType"), ((1.0, 1), "float"), ((True, 1), "bool")),
            *((("1", 1), "str"), (((1, 1), 1), "tuple")),
        ]
    },
    **{
        f"padding {value} of the seed": (
            ["conv_transpose2d"],
            {"padding": value},
            "`padding` must be an int or a tuple or list of 2 ints; got "
            f"{value!r} of type {type(value).__name__}. Strings and (low, high) pairs "
            "are for jconvt.conv_transpose.",
        )
        for value in ["SAME", ((1, 1), (1, 1)), [(1, 1), 1], (1, "1"), [[1, 1]]]
    },
    **{
        f"lowering {value}": (
            FRONTS,
            {"lowering": value},
            f"`lowering` must be a string or a jconvt.Lowerings; got {value!r}.",
        )
        for value in [None, 1, True, b"auto", ["auto"]]
    },
    **{
        f"data_format {value}": (
            FIXED,
            {"data_format": value},
            TEXT.format("data_format", value),
        )
        for value in [None, 1, True, b"NCHW", ["NCHW"]]
    },
    **{
        f"dimension_numbers {value}": (
            GENERAL,
            {"dimension_numbers": value},
            NUMBERS.format(value),
        )
        for value in ["NCHW", 1, (0, 1, 2), ("NCHW", "IOHW", None), {"NCHW"}]
    },
    **{
        f"precision {value}": (FRONTS, {"precision": value}, PRECISION.format(value))
        for value in [
            *(1, True, 2.0, {"high"}, (), (1, 2)),
            ("high", "high", "high"),
            lax.DotAlgorithmPreset.F32_F32_F32,
        ]
    },
    **{
        f"input_shape {value}": (
            ["output_shape"],
            {"input_shape": value},
            SHAPE.format("input_shape", f"{value!r} of type {type(value).__name__}"),
        )
        for value in [None, 5, "2455"]
    },
    **{
        f"axes {junk}": (
            GENERAL,
            {"dimension_numbers": with_axes(junk)},
            "`dimension_numbers` must hold tuples of ints; got "
            f"{junk!r} in {with_axes(junk)!r}.",
        )
        for junk in [None, 3, {0, 1, 2, 3}, (0.0, 1.0, 2.0, 3.0), ("a", 1, 2, 3)]
    },
    "input_shape element": (
        ["output_shape"],
        {"input_shape": (2, 4, 5.0, 5)},
        "`input_shape[2]` must be an int; got 5.0 of type float.",
    ),
    "groups tuple": (
        FRONTS,
        {"groups": (2,)},
        "`groups` must be an int; got (2,) of type tuple.",
    ),
    "weight_shape": (
        ["output_shape"],
        {"weight_shape": {3}},
        SHAPE.format("weight_shape", "{3} of type set"),
    ),
    **{
        f"preferred_element_type {value}": (
            WITH_ARRAYS,
            {"preferred_element_type": value},
            f"`preferred_element_type` must be a dtype; got {value!r}.{hint}",
        )
        for value, hint in [
            ("flot32", " Did you mean 'float32'?"),
            ("fp16", " Did you mean 'float16'?"),
            ("abacus", ""),
        ]
    },
    **{
        f"preferred_element_type {value}": (
            WITH_ARRAYS,
            {"preferred_element_type": value},
            f"`preferred_element_type` must be a dtype; got {value!r}.",
        )
        for value in [
            *(1, True, 2.0, len, (None, []), np.float32(1)),
            np.ones(1, np.float32),
            jnp.ones(1),
            jax.random.key(0).dtype,
        ]
    },
    **{
        f"preferred_element_type {value}": (
            WITH_ARRAYS,
            {"preferred_element_type": value},
            PREFERRED.format(np.dtype(value)),
        )
        for value in [
            *(jnp.bfloat16, jnp.int32, jnp.complex64, bool, object, str),
            *(np.longdouble, ">f4", "M8[s]", [("a", "f4")]),
        ]
    },
}
ROWS = [
    pytest.param(front, options, error, message, id=f"{front}-{name}")
    for table, error in ((VALUES, ValueError), (WRONG_KINDS, TypeError))
    for name, (fronts, options, message) in table.items()
    for front in fronts
]


@pytest.mark.parametrize(("front", "options", "error", "message"), ROWS)
def test_option(front, options, error, message, nothing_bound):
    check(front, error, message, **options)


@pytest.mark.parametrize(("front", "options", "error", "message"), ROWS)
def test_option_under_jit(front, options, error, message, nothing_bound):
    """Raised at trace, with the same words."""
    with pytest.raises(error) as caught:
        jax.jit(partial(call, front, **options))()
    assert str(caught.value) == f"{front}: {message}"


# Arrays: (fronts, arrays, exception, message) -----------------------------------------


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


NO_ARRAY = (
    "`{}` must be a JAX or NumPy array; got {}. Convert it first, for example with "
    "jnp.asarray."
)
NO_NUMBERS = (
    "`{}` must hold integers, floats or complex numbers; got dtype {}. Convert it "
    "first with .astype."
)
CHANNELS = (
    "`input` must have as many channels as `weight` has input channels; got {} on axis "
    "{} of input {} and 4 on axis 0 of weight (4, 6, 3, 3). A weight is (C_in, "
    "C_out/groups, *kernel) unless `dimension_numbers` says otherwise."
)
RANK = "`input` must have 4 axes (batched) or 3 (unbatched); got shape {}. {}"
TOO_MANY = "More leading axes are for jax.vmap."
TOO_FEW = "Channels have an axis even if there is one: x[None] adds it."
CHANNELS_LAST = (
    " Axis {} has 4: for channels last jconvt.conv_transpose has `dimension_numbers`, "
    "conv_transpose1d, 2d, 3d and layers have `data_format`."
)
BIAS = (
    "`bias` must have shape ({},), the output channels of weight (4, 6, 3, 3) times "
    "groups={}; got {}."
)
PLANAR = ["conv_transpose", "conv_transpose2d"]

ARRAYS = {
    **{
        f"{name} {type(value).__name__}": (
            {name: value},
            TypeError,
            NO_ARRAY.format(name, type(value).__name__),
        )
        for name in ("input", "weight", "bias")
        for value in [
            *(1.0, "x", [1.0, 2.0], (1.0, 2.0), np.float32(1), range(3)),
            np.ma.ones((2, 4, 5, 5)),  # type checkers and JAX refuse a mask too
        ]
    },
    **{
        f"{name} None": ({name: None}, TypeError, NO_ARRAY.format(name, "NoneType"))
        for name in ("input", "weight")
    },
    **{
        f"{name} of {dtype}": (
            {name: np.zeros(shape, dtype)},
            TypeError,
            NO_NUMBERS.format(name, np.dtype(dtype)),
        )
        for name, shape in {
            "input": (2, 4, 5, 5),
            "weight": (4, 6, 3, 3),
            "bias": (6,),
        }.items()
        for dtype in [
            *("bool", "U1", "S1", "O", "M8[s]", "m8[s]", "V4", ">f4"),
            *("longdouble", "clongdouble"),
            jax.dtypes.float0,
        ]
    },
    "input of keys": (
        {"input": jax.random.key(0)},
        TypeError,
        NO_NUMBERS.format("input", "key<fry>"),
    ),
    "jax bool": (
        {"weight": jnp.ones((4, 6, 3, 3), bool)},
        TypeError,
        NO_NUMBERS.format("weight", "bool"),
    ),
    "input channels": (
        {"input": ones(2, 3, 5, 5)},
        ValueError,
        CHANNELS.format(3, 1, (2, 3, 5, 5)),
    ),
    "unbatched channels": (
        {"input": ones(3, 5, 5)},
        ValueError,
        CHANNELS.format(3, 0, (3, 5, 5)),
    ),
    "channels of a batch in the wrong place": (
        {"input": ones(2, 5, 5, 4)},
        ValueError,
        CHANNELS.format(5, 1, (2, 5, 5, 4)) + CHANNELS_LAST.format(3),
    ),
    "input rank 2": ({"input": ones(5, 5)}, ValueError, RANK.format((5, 5), TOO_FEW)),
    "input rank 0": ({"input": ones()}, ValueError, RANK.format((), TOO_FEW)),
    "input rank 5": (
        {"input": ones(1, 2, 4, 5, 5)},
        ValueError,
        RANK.format((1, 2, 4, 5, 5), TOO_MANY),
    ),
    "no taps": (
        {"weight": ones(4, 6, 0, 3)},
        ValueError,
        "`weight` must have at least one tap on every spatial axis; got shape (4, 6, "
        "0, 3).",
    ),
    "bias 5": ({"bias": ones(5)}, ValueError, BIAS.format(6, 1, (5,))),
    "bias of a number": ({"bias": ones()}, ValueError, BIAS.format(6, 1, ())),
    "bias of a channel": ({"bias": ones(1)}, ValueError, BIAS.format(6, 1, (1,))),
    "bias with axes": (
        {"bias": ones(6, 1, 1)},
        ValueError,
        BIAS.format(6, 1, (6, 1, 1)),
    ),
    "bias of one group": (
        {"bias": ones(6), "groups": 2},
        ValueError,
        BIAS.format(12, 2, (6,)),
    ),
    "groups": (
        {"groups": 8},
        ValueError,
        "the input channels must be divisible by `groups`; got 4 channels and "
        "groups=8.",
    ),
}


@pytest.mark.parametrize("front", PLANAR)
@pytest.mark.parametrize("name", ARRAYS)
def test_array(front, name, nothing_bound):
    arrays, error, message = ARRAYS[name]
    check(front, error, message, **arrays)


@pytest.mark.parametrize("front", FIXED)
@pytest.mark.parametrize("axes", [0, 1, 2, 3, 4, 5, 6])
def test_weight_rank(front, axes, nothing_bound):
    rank = RANKS[front]
    if axes != rank + 2:
        check(
            front,
            ValueError,
            f"`weight` must have {rank + 2} axes, (C_in, C_out/groups) and {rank} "
            f"spatial; got shape {(1,) * axes}.",
            weight=ones(*[1] * axes),
        )


@pytest.mark.parametrize("axes", [0, 1])
def test_weight_rank_of_any_rank(axes, nothing_bound):
    check(
        "conv_transpose",
        ValueError,
        "`weight` must have at least the axes C_in and C_out/groups; got shape "
        f"{(1,) * axes}.",
        weight=ones(*[1] * axes),
    )


def test_channels_last(nothing_bound):
    check(
        "conv_transpose2d",
        ValueError,
        CHANNELS.format(5, 3, (2, 4, 5, 5)),
        data_format="NHWC",
    )
    check(
        "conv_transpose2d",
        ValueError,
        CHANNELS.format(5, 2, (4, 5, 5)),
        data_format="NHWC",
        input=ones(4, 5, 5),
    )


@pytest.mark.parametrize(
    ("operand", "preferred"),
    [
        *[("int8", p) for p in ("uint8", "uint32", "complex64", "bool", "int4")],
        *[("int32", p) for p in ("int16", "bfloat16", "float16")],
        *[("bfloat16", p) for p in ("int32", "float8_e4m3fn", "complex64")],
        *[("complex64", p) for p in ("float32", "int32")],
    ],
)
def test_preferred_element_type(operand, preferred, nothing_bound):
    check(
        "conv_transpose2d",
        TypeError,
        "`preferred_element_type` must be of the operands' kind (integers may also "
        f"give floats) and no narrower; got {preferred} for operands of dtype "
        f"{operand}.",
        input=jnp.ones((2, 4, 5, 5), operand),
        weight=jnp.ones((4, 6, 3, 3), operand),
        preferred_element_type=preferred,
    )


@pytest.mark.parametrize("name", ["input_shape", "weight_shape"])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (ones(2, 4, 5, 5), "ndarray. Give its .shape."),
        (
            np.array([2, 4, 5, 5]),
            "ndarray. Give its .shape (or, if it holds the sizes, its .tolist()).",
        ),
        (jax.ShapeDtypeStruct((4,), "int32"), "ShapeDtypeStruct. Give its .shape."),
        (3, "3 of type int."),
    ],
)
def test_no_shape_in_place_of_a_shape(name, value, got):
    rule = f"`{name}` must be a tuple or list of ints; got {got}"
    check("output_shape", TypeError, rule, **{name: value})


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (
            (2, 4, 5, 5),
            "Convert it first, for example with jnp.asarray; for shapes alone there is "
            "jconvt.output_shape.",
        ),
        (
            jax.ShapeDtypeStruct((2, 4, 5, 5), "float32"),
            "For shapes alone there are jconvt.output_shape and jax.eval_shape.",
        ),
    ],
)
def test_a_shape_in_place_of_an_array(value, hint, nothing_bound):
    got = type(value).__name__
    rule = f"`input` must be a JAX or NumPy array; got {got}. {hint}"
    check("conv_transpose2d", TypeError, rule, input=value)


@pytest.mark.parametrize(
    ("front", "option", "given"),
    [
        *[("conv_transpose2d", option, lambda v: v) for option in KINDS],
        *[("conv_transpose2d", o, lambda v: (9, v)) for o in KINDS if o != "groups"],
        ("conv_transpose", "padding", lambda v: v),
        ("conv_transpose", "padding", lambda v: (1, (v, 1))),
    ],
)
def test_a_traced_option(front, option, given):
    """No tracer is shown: its repr says nothing about the call."""
    with pytest.raises(TypeError) as caught:
        jax.jit(lambda value: call(front, **{option: given(value)}))(2)
    pattern = (
        rf"{front}: `{option}(\[1\])?` must (be|hold) [^;<>]*; got a \w+Tracer\. "
        r"Options are static: name this one in `static_argnames` of jax\.jit\."
    )
    assert re.fullmatch(pattern, str(caught.value))


def test_a_symbolic_option():
    (n,) = jax.export.symbolic_shape("n")
    check(
        "output_shape",
        TypeError,
        "`stride[1]` must be an int; got n of type _DimExpr. Of the options only "
        "`output_size` may be symbolic.",
        stride=(1, n),
    )


@pytest.mark.parametrize("front", WITH_ARRAYS)
@pytest.mark.parametrize("stride", [2, (2, 1), np.int64(2)])
def test_a_stride_in_place_of_the_bias(front, stride, nothing_bound):
    got = type(stride).__name__
    rule = f"`bias` must be a JAX or NumPy array; got {got}. The third argument is "
    check(front, TypeError, f"{rule}`bias`; write stride={stride!r}.", bias=stride)


def of_framework(name, methods):
    """An instance of a class that a module of this framework might define."""
    body = {"__module__": f"{name}.nn", **dict.fromkeys(methods, lambda self: None)}
    return type("Parameter", (), body)()


@pytest.mark.parametrize("argument", ["input", "weight", "bias"])
@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (of_framework("torch", ["numpy"]), "Convert it first, with .detach().numpy()."),
        (of_framework("tensorflow", ["numpy"]), "Convert it first, with .numpy()."),
        (
            of_framework("torch", []),
            "Convert it first, for example with jnp.asarray.",
        ),
    ],
)
def test_a_tensor_of_another_framework(argument, value, hint, nothing_bound):
    rule = f"`{argument}` must be a JAX or NumPy array; got Parameter. {hint}"
    check("conv_transpose2d", TypeError, rule, **{argument: value})


@pytest.mark.parametrize(
    ("weight", "data_format", "hint"),
    [
        (
            (3, 3, 4, 6),
            "NCHW",
            " The weight looks like HWIO: jconvt.conv_transpose takes it with "
            "dimension_numbers=('NCHW', 'HWIO', 'NCHW').",
        ),
        (
            (3, 3, 6, 4),
            "NHWC",
            " The weight looks like HWOI: jconvt.conv_transpose takes it with "
            "dimension_numbers=('NHWC', 'HWOI', 'NHWC').",
        ),
        (
            (6, 4, 3, 3),
            "NHWC",
            " Axis 1 has them, as in the weight of a forward convolution, (C_out, C_in,"
            " *kernel): give jnp.swapaxes(weight, 0, 1), and reverse its taps with "
            "jnp.flip if they were written for a convolution.",
        ),
        # A kernel of 64 by 128 is not what is meant.
        ((64, 128, 4, 4), "NCHW", ""),
        ((3, 3, 7, 6), "NCHW", ""),
    ],
)
def test_a_weight_in_another_order(weight, data_format, hint, nothing_bound):
    channel, shape = (1, (2, 4, 5, 5)) if data_format == "NCHW" else (3, (2, 5, 5, 4))
    check(
        "output_shape",
        ValueError,
        f"`input` must have as many channels as `weight` has input channels; got 4 on "
        f"axis {channel} of input {shape} and {weight[0]} on axis 0 of weight {weight}."
        " A weight is (C_in, C_out/groups, *kernel) unless `dimension_numbers` says "
        f"otherwise.{hint}",
        input_shape=shape,
        weight_shape=weight,
        data_format=data_format,
    )


@pytest.mark.parametrize("order", ["HWIO", "HWOI"])
def test_both_arrays_in_the_order_of_lax(order, nothing_bound):
    """Its default, which a user of lax need not write there."""
    weight = (3, 3, 4, 6) if order == "HWIO" else (3, 3, 6, 4)
    rule = (
        "`input` must have as many channels as `weight` has input channels; got 5 on "
        f"axis 1 of input (2, 5, 5, 4) and 3 on axis 0 of weight {weight}. A weight is "
        "(C_in, C_out/groups, *kernel) unless `dimension_numbers` says otherwise. The "
        f"arrays look like NHWC and {order}: jconvt.conv_transpose takes them with "
        f"dimension_numbers=('NHWC', '{order}', 'NHWC')."
    )
    shapes = {"input_shape": (2, 5, 5, 4), "weight_shape": weight}
    check("output_shape", ValueError, rule, **shapes)
    numbers = ("NHWC", order, "NHWC")
    assert jconvt.output_shape(**shapes, dimension_numbers=numbers) == (2, 7, 7, 6)


def test_what_the_hint_on_a_weight_proposes_is_right(nothing_bound):
    numbers = ("NCHW", "HWIO", "NCHW")
    shape = jconvt.output_shape((2, 4, 5, 5), (3, 3, 4, 6), dimension_numbers=numbers)
    assert shape == (2, 6, 7, 7)


@pytest.mark.parametrize("front", ["conv_transpose", "output_shape"])
def test_a_lowering_that_cannot_serve_says_why(front, nothing_bound):
    check(
        front,
        ValueError,
        "`lowering`='matmul' cannot serve this geometry: "
        "it needs dilation*(kernel_size - 1) + 1 <= stride on every axis, so that no "
        "two input elements reach one output; got Geometry(kernel_size=(3, 3), "
        "stride=(1, 1), dilation=(1, 1), crop=((0, 0), (0, 0)), groups=1). Use one of "
        f"auto, {', '.join(name for name in LOWERINGS if name != 'matmul')}.",
        lowering="matmul",
    )


def test_what_converts_itself_must_convert_to_an_array():
    class Parameter:
        def __jax_array__(self):
            return [1.0]

    check(
        "conv_transpose2d", TypeError, NO_ARRAY.format("bias", "list"), bias=Parameter()
    )


def test_strict_promotion_is_the_error_of_jax():
    with (
        jax.numpy_dtype_promotion("strict"),
        pytest.raises(ValueError, match="jax_numpy_dtype_promotion=strict"),
    ):
        call("conv_transpose2d", weight=ones(4, 6, 3, 3, dtype=np.float16))


# What must pass -----------------------------------------------------------------------

NUMPY_INTEGERS = [np.int8, np.uint8, np.int16, np.int64, np.uint64, np.intp]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("integer", NUMPY_INTEGERS)
def test_numpy_integers_are_ints(front, integer):
    plain = {"stride": 2, "padding": 1, "output_padding": 1, "dilation": 2, "groups": 2}
    rank = RANKS[front]
    shape = jax.eval_shape if front != "output_shape" else lambda f: f()
    expected = shape(partial(call, front, **plain))
    for make in (lambda v: v, lambda v: (v,) * rank, lambda v: [v] * rank):
        options = {k: make(integer(v)) for k, v in plain.items() if k != "groups"}
        assert shape(partial(call, front, **options, groups=integer(2))) == expected
    if front in GENERAL:
        pairs = [(integer(1), integer(1))] * rank
        assert shape(partial(call, front, **(plain | {"padding": pairs}))) == expected


def test_small_numpy_integers_do_not_wrap():
    """uint8 and int8 arithmetic would: 200 + 200, -1 of an unsigned."""
    sizes = (1, 1, np.uint8(200)), (1, 1, np.int8(100))
    options = {
        "stride": np.uint8(200),
        "padding": np.uint8(3),
        "dilation": np.int8(100),
    }
    expected = (199 * 200 - 6 + 100 * 99 + 1,)
    assert jconvt.output_shape(*sizes, **options)[2:] == expected
    pairs = [(np.uint8(1), np.int8(-100))]
    assert jconvt.output_shape(*sizes, padding=pairs)[2:] == (200 + 99 - 1 + 100,)


def test_symbolic_sizes_are_sizes():
    b, n = jax.export.symbolic_shape("b, n")
    weight = (4, 6, 3, 3)
    assert jconvt.output_shape((b, 4, n, 5), weight) == (b, 6, n + 2, 7)
    size = {"output_size": (2 * n + 2, 12), "stride": 2}
    assert jconvt.output_shape((b, 4, n, 5), weight, **size) == (b, 6, 2 * n + 2, 12)
    size = {"output_size": 2 * n + 2, "stride": 2}
    both = (b, 6, 2 * n + 2, 2 * n + 2)
    assert jconvt.output_shape((b, 4, n, n), weight, **size) == both


def test_an_int_of_an_enum_is_an_int():
    """A subclass of int other than bool, as `IntEnum` makes."""

    class Two(int):
        pass

    assert jconvt.output_shape((1, 1, 5), (1, 1, 3), stride=Two(2)) == (1, 1, 11)


# Wild arguments -----------------------------------------------------------------------

huge = st.sampled_from([2**31 - 1, 2**31, 10**9, 2**63, 10**30, -(2**63)])
wild = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 4),
    huge,
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.sampled_from(
        [np.float64(2), np.bool_(1), np.int64(2), np.uint8(2), np.array([1, 2])]
    ),
    st.sampled_from([int, object(), len, {}, frozenset({1}), Ellipsis, NotImplemented]),
)
nested = st.recursive(
    wild,
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=6,
)
plausible = st.one_of(
    st.integers(-1, 4),
    st.lists(st.integers(-1, 4), max_size=3).map(tuple),
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=3),
    st.sampled_from(["SAME", "valid", "CAUSAL", "CIRCULAR", "SAME_LOWER"]),
)
letters = st.text("NCIOHWDX", max_size=5)
words = st.sampled_from(
    [*LOWERINGS, "auto", "high", "NCHW", "NHWC", "NCW", "NDHWC", "float32", "int32"]
)
values = st.one_of(plausible, nested, words, st.tuples(letters, letters, letters))
OPTIONS = (
    *("stride", "padding", "output_padding", "dilation", "groups", "output_size"),
    *("precision", "lowering"),
)
dtypes_ = st.sampled_from(
    ["float32", "bfloat16", "int8", "uint16", "complex64", "bool", "int32"]
)
any_shape = st.lists(st.integers(0, 5), max_size=6).map(tuple)


@st.composite
def shapes_that_fit(draw, rank=None):
    """Shapes of an input, batched or not, a weight and a bias of one group."""
    rank = draw(st.integers(0, 4)) if rank is None else rank
    sizes = st.integers(0, 5)
    batch = draw(st.sampled_from([(), (1,), (2,), (0,)]))
    channels, per_group = draw(st.sampled_from([(4, 2), (2, 3), (0, 2), (3, 0)]))
    space = [draw(sizes) for _ in range(rank)]
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    return (*batch, channels, *space), (channels, per_group, *kernel), (per_group,)


fuzz = settings(
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def options_of(front):
    extra = ("data_format",) if front in FIXED else ("dimension_numbers",)
    if front != "output_shape":
        extra += ("preferred_element_type",)
    return st.dictionaries(st.sampled_from(OPTIONS + extra), values, max_size=4)


def is_huge(value):
    if isinstance(value, tuple | list):
        return any(map(is_huge, value))
    number = isinstance(value, int) and not isinstance(value, bool)
    return number and abs(value) > 1000


def answer_or_complaint(front, function):
    """An answer, or a TypeError or ValueError of ours that names the function."""
    try:
        return function()
    except (TypeError, ValueError) as caught:
        error = caught
    assert str(error).startswith(f"{front}: ")
    assert str(error).endswith((".", "?"))
    assert len(error.args) == 1
    assert_ours(error)
    return None


@fuzz
@given(st.data())
def test_wild_options_of_output_shape(data):
    options = data.draw(options_of("output_shape"))
    shape, weight, _ = data.draw(
        st.one_of(
            shapes_that_fit(), st.tuples(any_shape | nested, any_shape, any_shape)
        )
    )
    result = answer_or_complaint(
        "output_shape", lambda: jconvt.output_shape(shape, weight, **options)
    )
    if result is not None:
        assert all(type(n) is int and n >= 0 for n in result)


@fuzz
@given(st.data())
@pytest.mark.parametrize("front", WITH_ARRAYS)
def test_wild_options(front, data):
    """Traced, not run: what a check lets through must be what the rest can do."""
    options = data.draw(options_of(front))
    # Sizes that fit no machine are for `output_shape`: here they would be traced.
    options = {k: v for k, v in options.items() if not is_huge(v)}
    dtype = data.draw(dtypes_)
    rank = None if front in GENERAL else RANKS[front]
    fitting = shapes_that_fit(rank)
    shapes = data.draw(st.one_of(fitting, fitting, st.tuples(*[any_shape] * 3)))
    *arrays, bias = [np.ones(shape, dtype) for shape in shapes]
    bias = data.draw(st.sampled_from([None, bias]))
    function = getattr(jconvt, front)
    result = answer_or_complaint(
        front, lambda: jax.eval_shape(lambda: function(*arrays, bias, **options))
    )
    if result is not None and front == "conv_transpose":
        options.pop("preferred_element_type", None)
        shape = jconvt.output_shape(arrays[0].shape, arrays[1].shape, **options)
        assert result.shape == shape


@pytest.mark.parametrize("option", ["stride", "dilation", "padding"])
@pytest.mark.parametrize("size", [10**9, 2**31 - 1])
def test_absurd_sizes_are_answered_at_once(option, size):
    options = {option: size}
    answer = answer_or_complaint(
        "output_shape",
        lambda: jconvt.output_shape((1, 2, 5), (2, 3, 3), **options),
    )
    expected = {"stride": (1, 3, 4 * size + 3), "dilation": (1, 3, 2 * size + 5)}
    assert answer == expected.get(option)
    x, w = jnp.ones((1, 2, 5)), jnp.ones((2, 3, 3))
    traced = answer_or_complaint(
        "conv_transpose1d",
        lambda: jax.eval_shape(partial(jconvt.conv_transpose1d, x, w, **options)),
    )
    assert traced is None if answer is None else traced.shape == answer
