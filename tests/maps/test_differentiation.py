"""Derivatives are those of the definition, with every formulation in every slot.

The reference is the convolution of the dilated input, differentiated by JAX.
"""

import functools
import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

import jconvt
from cases import Case
from configurations import is_about_jit
from jconvt._call.geometry import Geometry
from jconvt._lowerings.table import LOWERINGS

CASES = [
    Case("stride_1", (4,), (3,), padding=1, dilation=2),
    Case("overlap", (3, 2), (3, 3), stride=2, padding=1, output_padding=1),
    Case("overlap_even", (3,), (4,), stride=2, padding=1),
    Case("blocks", (3,), (3,), stride=3, groups=2, channels=(4, 2)),
    Case("holes", (3,), (2,), stride=4, output_padding=3),
    Case("dilated", (4,), (3,), stride=2, padding=2, dilation=3),
    Case("groups", (3,), (3,), 4, dilation=2, groups=2, channels=(4, 6)),
    Case("crop_low", (6,), (3,), stride=2, padding=((3, 0),)),
    Case("crop_negative", (4,), (3,), stride=2, padding=((-3, 2),)),
    Case("3d", (2, 2, 2), (3, 1, 2), stride=(2, 1, 2), padding=((1, 0),) * 3),
    Case("circular", (3,), (6,), stride=2, padding="CIRCULAR"),
]
BY_NAME = {case.name: case for case in CASES}


def serves(lowering, case):
    geometry = Geometry(
        kernel_size=case.kernel,
        stride=case.each(case.stride),
        dilation=case.each(case.dilation),
        crop=((0, 0),) * case.rank,  # no lowering asks
        groups=case.groups,
    )
    return lowering == "auto" or LOWERINGS[lowering].unsupported(geometry) is None


PAIRS = [
    pytest.param(case, lowering, id=f"{case}-{lowering}")
    for case in CASES
    for lowering in ("auto", *LOWERINGS)
    if serves(lowering, case)
]


def ours(case, lowering="auto"):
    return functools.partial(
        jconvt.conv_transpose, **case.options, lowering=lowering, precision="highest"
    )


def reference(case):
    """What lax makes of the definition: dilate by the stride, pad, convolve."""
    stride, dilation = case.each(case.stride), case.each(case.dilation)
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, case.kernel, strict=True)]

    def f(x, w):
        if case.padding == "CIRCULAR":
            laps = [-(-e // s) for e, s in zip(extent, stride, strict=True)]
            x = jnp.pad(x, [(0, 0), (0, 0), *((m, m) for m in laps)], mode="wrap")
            crop = [
                (m * s + max(e - s, 0) // 2, m * s + e - s - max(e - s, 0) // 2)
                for m, s, e in zip(laps, stride, extent, strict=True)
            ]
        else:
            crop = case.crop
        inputs, outputs = w.shape[0] // case.groups, w.shape[1]
        w = w.reshape(case.groups, inputs, outputs, *case.kernel).swapaxes(1, 2)
        w = w.reshape(case.groups * outputs, inputs, *case.kernel)
        return lax.conv_general_dilated(
            x,
            jnp.flip(w, range(2, w.ndim)),
            window_strides=(1,) * case.rank,
            padding=[
                (e - 1 - low, e - 1 - high)
                for e, (low, high) in zip(extent, crop, strict=True)
            ],
            lhs_dilation=stride,
            rhs_dilation=dilation,
            feature_group_count=case.groups,
            precision="highest",
        )

    return f


def operands(case, dtype=np.float64):
    """Input, weight, a direction of each, and the seed of a cotangent."""
    rng = np.random.default_rng(math.prod(case.kernel))
    shapes = [case.input_shape, case.weight_shape]
    return [rng.normal(size=s).astype(np.float32).astype(dtype) for s in shapes * 2]


def curved(f):
    """A scalar of the result whose second derivatives are not zero."""

    def loss(x, w):
        y = f(x, w)
        return jnp.sum(jnp.sin(y + jnp.arange(y.size).reshape(y.shape)))

    return loss


def cotangent_of(y):
    return jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)


def first_order(f, x, w, dx, dw):
    y, pull = jax.vjp(f, x, w)
    tangent = jax.jvp(f, (x, w), (dx, dw))[1]
    return {"value": y, "gradients": pull(cotangent_of(y)), "tangent": tangent}


def second_order(f, x, w, dx, dw):
    """The Hessian times a direction."""
    return jax.jvp(jax.grad(curved(f), (0, 1)), (x, w), (dx, dw))[1]


# Without optimization of the machine code: compiling is nearly all of the time.
quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def derivatives(f, *arrays):
    return quick_jit(lambda *a: (first_order(f, *a), second_order(f, *a)))(*arrays)


@functools.cache
def expected(case):
    with jax.enable_x64(True):
        return derivatives(reference(case), *operands(case))


def assert_close(actual, desired, tolerance=1e-11):
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for (path, a), d in zip(
        jax.tree.leaves_with_path(actual), jax.tree.leaves(desired), strict=True
    ):
        where = jax.tree_util.keystr(path)
        assert a.shape == d.shape, where
        np.testing.assert_allclose(a, d, tolerance, tolerance * 10, err_msg=where)


# Values -------------------------------------------------------------------------------


def test_every_lowering_is_tried():
    assert {pair.values[1] for pair in PAIRS} == {"auto", *LOWERINGS}


@pytest.mark.parametrize(("case", "lowering"), PAIRS)
def test_derivatives(case, lowering):
    with jax.enable_x64(True):
        assert_close(derivatives(ours(case, lowering), *operands(case)), expected(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derivatives_in_single_precision(case):
    """Where `auto` chooses other formulations than in double."""
    assert_close(
        derivatives(ours(case), *operands(case, np.float32)), expected(case), 1e-4
    )


@pytest.mark.parametrize("name", ["overlap", "blocks", "circular"])
def test_derivatives_in_one_operand(name):
    """The other one is a constant, whose term of the derivative is left out."""
    case = BY_NAME[name]
    f, (first, _) = ours(case), expected(case)
    x, w, dx, dw = operands(case, np.float32)
    y, pull_x = jax.vjp(lambda x: f(x, w), x)
    _, pull_w = jax.vjp(lambda w: f(x, w), w)
    g = cotangent_of(y)
    assert_close((*pull_x(g), *pull_w(g)), first["gradients"], 1e-5)
    _, by_x = jax.jvp(lambda x: f(x, w), (x,), (dx,))
    _, by_w = jax.jvp(lambda w: f(x, w), (w,), (dw,))
    assert_close(by_x + by_w, first["tangent"], 1e-5)
    assert_close(by_x, f(dx, w), 1e-5)


@pytest.mark.parametrize("name", ["overlap", "circular"])
def test_second_order_by_every_route(name):
    """Reverse over reverse and reverse over forward: the same Hessian product."""
    case = BY_NAME[name]
    loss = curved(ours(case))

    def products(x, w, dx, dw):
        def along_gradient(x, w):
            gx, gw = jax.grad(loss, (0, 1))(x, w)
            return jnp.vdot(gx, dx) + jnp.vdot(gw, dw)

        def along_tangent(x, w):
            return jax.jvp(loss, (x, w), (dx, dw))[1]

        return [jax.grad(f, (0, 1))(x, w) for f in (along_gradient, along_tangent)]

    with jax.enable_x64(True):
        for product in quick_jit(products)(*operands(case)):
            assert_close(product, expected(case)[1])


def test_against_finite_differences():
    case = BY_NAME["overlap_even"]
    with jax.enable_x64(True):
        f = jax.jit(ours(case))
        check_grads(f, operands(case)[:2], order=2, modes=("fwd", "rev"), rtol=1e-4)


def test_jacobians_and_hessian():
    case = BY_NAME["groups"]
    with jax.enable_x64(True):
        x, w = operands(case)[:2]
        f, loss, by_lax = ours(case), curved(ours(case)), reference(case)
        jacobian = quick_jit(jax.jacrev(by_lax, (0, 1)))(x, w)
        for jac in (jax.jacfwd, jax.jacrev):
            assert_close(quick_jit(jac(f, (0, 1)))(x, w), jacobian)
        hessian = quick_jit(jax.hessian(curved(by_lax), (0, 1)))(x, w)
        assert_close(quick_jit(jax.hessian(loss, (0, 1)))(x, w), hessian)


def served_by(lowering):
    """A case that the lowering serves."""
    return BY_NAME["overlap_even" if lowering == "winograd" else "blocks"]


@pytest.mark.parametrize("lowering", ["auto", *LOWERINGS])
def test_linearize_and_linear_transpose(lowering):
    case = served_by(lowering)
    x, w, dx, dw = operands(case, np.float32)
    f = ours(case, lowering)
    first, _ = expected(case)
    y, tangent = jax.linearize(f, x, w)
    assert_close(y, first["value"], 1e-5)
    assert_close(tangent(dx, dw), first["tangent"], 1e-5)
    by_x = jax.linear_transpose(lambda x: f(x, w), x)
    by_w = jax.linear_transpose(lambda w: f(x, w), w)
    g = cotangent_of(y)
    assert_close((*by_x(g), *by_w(g)), first["gradients"], 1e-5)


@pytest.mark.parametrize("lowering", ["auto", *LOWERINGS])
def test_complex(lowering):
    """Holomorphic gradients, and JAX's convention for those that are not."""
    case = served_by(lowering)
    x, w, dx, dw = operands(case, np.float32)
    x, w = x + 1j * dx, w - 1j * dw

    def gradients(f, x, w):
        return (
            jax.grad(lambda *a: jnp.sum(f(*a) ** 2), (0, 1), holomorphic=True)(x, w),
            jax.grad(lambda *a: jnp.sum(abs(f(*a)) ** 2), (0, 1))(x, w),
        )

    run = quick_jit(gradients, static_argnums=0)
    assert_close(run(ours(case, lowering), x, w), run(reference(case), x, w), 1e-4)


# Shapes and dtypes --------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (2,)], ids=["unbatched", "batched"])
def test_bias_gradient_is_the_sum_of_the_cotangent(batch):
    x, w, b = jnp.ones((*batch, 2, 4)), jnp.ones((2, 3, 5)), jnp.ones(3)
    y, pull = jax.vjp(functools.partial(jconvt.conv_transpose1d, stride=2), x, w, b)
    g = jnp.arange(y.size, dtype=y.dtype).reshape(y.shape)
    over = tuple(axis for axis in range(y.ndim) if axis != y.ndim - 2)
    np.testing.assert_array_equal(pull(g)[2], g.sum(over))


EMPTY = {
    "batch": ((0, 2, 4), (2, 3, 3), 1),
    "input_channels": ((2, 0, 4), (0, 3, 3), 1),
    "output_channels": ((2, 2, 4), (2, 0, 3), 1),
    "space": ((2, 2, 0), (2, 3, 3), 0),
    "output": ((2, 2, 1), (2, 3, 4), 2),
}


@pytest.mark.parametrize(("x_shape", "w_shape", "p"), EMPTY.values(), ids=EMPTY)
def test_zero_size_gradients(x_shape, w_shape, p):
    x, w = jnp.ones(x_shape), jnp.ones(w_shape)
    b = jnp.ones(w_shape[1])
    f = functools.partial(jconvt.conv_transpose1d, stride=2, padding=p)
    y, (dx, dw, db) = (lambda y, pull: (y, pull(y)))(*jax.vjp(f, x, w, b))
    assert [a.shape for a in (dx, dw, db)] == [a.shape for a in (x, w, b)]
    assert not dx.any()
    assert not dw.any()
    np.testing.assert_array_equal(db, y.sum((0, 2)))


DTYPES = {
    "half_input": ("float16", "float32", "float32"),
    "brain_weight": ("float32", "bfloat16", "float32"),
    "brain_and_half": ("bfloat16", "float16", "float32"),
    "brain": ("bfloat16", "bfloat16", "bfloat16"),
    "half": ("float16", "float16", "float16"),
    "complex_weight": ("float32", "complex64", "complex64"),
}


@pytest.mark.parametrize(("x_type", "w_type", "y_type"), DTYPES.values(), ids=DTYPES)
def test_gradients_have_their_operands_dtypes(x_type, w_type, y_type):
    x, w = jnp.ones((1, 2, 4), x_type), jnp.ones((2, 3, 4), w_type)
    f = functools.partial(jconvt.conv_transpose1d, stride=2)
    y, pull = jax.vjp(f, x, w)
    dx, dw = pull(y)
    assert (y.dtype, dx.dtype, dw.dtype) == (y_type, x_type, w_type)


def test_gradient_in_a_float_weight_of_an_integer_input():
    x, w = jnp.arange(3).reshape(1, 1, 3), jnp.ones((1, 1, 2))
    dw = jax.grad(lambda w: jconvt.conv_transpose1d(x, w, stride=2).sum())(w)
    np.testing.assert_array_equal(dw, [[[3.0, 3.0]]])


# Memory and speed ---------------------------------------------------------------------


@is_about_jit
@pytest.mark.parametrize(
    ("case", "lowering"),
    [
        pair
        for pair in PAIRS
        if pair.values[0].name in ("overlap_even", "blocks", "3d", "circular")
        and pair.values[1] != "lhs_dilation"  # plain lax, and what JAX keeps of that
    ],
)
def test_residuals_are_the_input_and_the_weight(case, lowering):
    """The very arrays: nothing padded, flipped or dilated is kept."""
    x, w = map(jnp.asarray, operands(case, np.float32)[:2])
    b = jnp.ones(case.channels[1])
    _, pull = jax.vjp(ours(case, lowering), x, w, b)
    kept = [a for a in jax.tree.leaves(pull) if isinstance(a, jax.Array)]
    assert {id(a) for a in kept} == {id(x), id(w)}


@pytest.mark.parametrize("known", ["input", "weight"])
def test_residual_of_one_gradient_is_the_other_operand(known):
    x, w = map(jnp.asarray, operands(BY_NAME["overlap"], np.float32)[:2])
    f = ours(BY_NAME["overlap"])
    if known == "weight":
        _, pull = jax.vjp(lambda x: f(x, w), x)
    else:
        _, pull = jax.vjp(lambda w: f(x, w), w)
    (kept,) = jax.tree.leaves(pull)
    assert kept is (w if known == "weight" else x)


def conditionals(program):
    return re.findall(r"\bconditional\(", program.as_text())


def test_conditionals_are_found():
    """A canary."""
    choice = jax.jit(lambda i, x: lax.switch(i, [jnp.sin, jnp.cos], x))
    assert conditionals(choice.lower(0, jnp.ones(3)).compile())


@pytest.mark.parametrize("name", ["overlap", "blocks", "circular"])
def test_no_conditional_is_left(name):
    """XLA has settled the choice among platforms before the program runs."""
    case = BY_NAME[name]
    arrays = operands(case, np.float32)[:2]
    f = ours(case)
    program = jax.jit(jax.value_and_grad(curved(f), (0, 1))).lower(*arrays).compile()
    assert not conditionals(program)


SLOTS = ("forward", "input gradient", "weight gradient")


def convolutions(case, slot, platform):
    """Windows of the convolutions in one slot's program for a platform."""
    f = ours(case)
    x, w = operands(case, np.float32)[:2]
    y = jnp.zeros(jax.eval_shape(f, x, w).shape)

    def run(x, w, g):
        if slot == "forward":
            return f(x, w)
        if slot == "input gradient":
            return jax.vjp(lambda x: f(x, w), x)[1](g)
        return jax.vjp(lambda w: f(x, w), w)[1](g)

    lowered = jax.jit(run).trace(x, w, y).lower(lowering_platforms=(platform,))
    text = lowered.as_text()
    reversed_ = set(re.findall(r"(%\w+) = stablehlo\.reverse", text))
    found = []
    for operand, window in re.findall(
        r"stablehlo\.convolution\(%[\w#]+, (%\w+)\).*?window = \{(.*?)\}", text
    ):
        numbers = {
            name: tuple(map(int, values.split(",")))
            for name, values in re.findall(r"(\w+) = \[([\d, ]+)\]", window)
        }
        (pads,) = re.findall(r"pad = \[(\[.*?\])\]", window)
        ones = (1,) * case.rank
        found.append(
            {
                "stride": numbers.get("stride", ones),
                "lhs_dilation": numbers.get("lhs_dilate", ones),
                "rhs_dilation": numbers.get("rhs_dilate", ones),
                "pads": re.findall(r"(-?\d+), (-?\d+)\]", pads),
                "reversed": operand in reversed_,
            }
        )
    return found


def test_convolutions_are_found():
    """A canary: the program of the definition itself has one, of a dilated input."""
    (window,) = convolutions(BY_NAME["overlap"], "forward", "cuda")
    assert window["lhs_dilation"] == (2, 2)
    assert window["pads"] == [("1", "2")] * 2


PLAIN = ("overlap", "overlap_even", "blocks")


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        (name, slot)
        for name in (*PLAIN, "dilated", "groups", "3d")
        for slot in SLOTS
        if name not in PLAIN or slot != "forward"
    ],
)
def test_cpu_convolves_no_dilated_input(name, slot):
    """XLA:CPU would multiply the zeros, which only tiny layers can afford.

    (It does not forward, with one group and no dilation on one or two axes.)
    """
    case = replace(BY_NAME[name], channels=(64, 64), batch=8)
    for window in convolutions(case, slot, "cpu"):
        assert set(window["lhs_dilation"]) == {1}


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", ["overlap_even", "crop_low", "crop_negative"])
def test_cpu_convolutions_crop_or_pad_but_not_both(name, slot):
    """XLA:CPU before jaxlib 0.12 then reads past the end of the array."""
    for window in convolutions(BY_NAME[name], slot, "cpu"):
        assert not [p for p in window["pads"] if int(p[0]) < 0 < int(p[1])]


@pytest.mark.parametrize(
    ("slot", "stride", "lhs_dilation", "rhs_dilation", "kernel_is_reversed"),
    [
        pytest.param("forward", 1, 2, 1, True, id="backward_data"),
        pytest.param("input gradient", 2, 1, 1, None, id="forward"),
        pytest.param("weight gradient", 1, 1, 2, None, id="backward_filter"),
    ],
)
@pytest.mark.parametrize("name", ["overlap", "overlap_even"])
def test_cuda_sees_the_convolutions_of_cudnn(
    name, slot, stride, lhs_dilation, rhs_dilation, kernel_is_reversed
):
    case = BY_NAME[name]
    (window,) = convolutions(case, slot, "cuda")
    assert set(window["stride"]) == {stride}
    assert set(window["lhs_dilation"]) == {lhs_dilation}
    assert set(window["rhs_dilation"]) == {rhs_dilation}
    if kernel_is_reversed is not None:
        assert window["reversed"] == kernel_is_reversed
