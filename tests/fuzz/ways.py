"""What is done with a call: transformations of JAX, each with what must come of it.

A way is a program of the call ``f(x, w, b)`` and its arrays, and the definition's own
value of each result. The map is bilinear, so every derivative of it is one of the three
maps again. Results are named by the array whose shape they have.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import checkify, jet

from fuzz.definition import Definition, Expected

Call = Callable[[Any, Any, Any], Any]
Arrays = dict[str, Any]
Results = list[tuple[str, Any]]


class Way(NamedTuple):
    """A program, and what the definition says of its results."""

    program: Callable[[Call, Arrays, str, tuple[int, ...]], Results]
    expected: Callable[[Definition, Arrays, str], list[Expected]]
    differentiates: bool = True


def _gradients(dx: Any, dw: Any, db: Any) -> Results:
    named = [("x", dx), ("w", dw), ("b", db)]
    return [(name, a) for name, a in named if a is not None]


def _output(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    return [("g", f(a["x"], a["w"], a["b"]))]


def _output_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [d.y(a["x"], a["w"], a["b"])]


def _vjp(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    y, pull = jax.vjp(f, a["x"], a["w"], a["b"])
    return [("g", y), *_gradients(*pull(a["g"]))]


def _pulled(d: Definition, a: Arrays) -> list[Expected]:
    found = [d.dx(a["g"], a["w"]), d.dw(a["g"], a["x"])]
    return found if a["b"] is None else [*found, d.db(a["g"])]


def _vjp_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return _output_expected(d, a, mapped) + _pulled(d, a)


def _input_gradient(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    _, pull = jax.vjp(lambda x: f(x, a["w"], a["b"]), a["x"])
    return [("x", pull(a["g"])[0])]


def _weight_gradient(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    _, pull = jax.vjp(lambda w: f(a["x"], w, a["b"]), a["w"])
    return [("w", pull(a["g"])[0])]


def _transpose(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    pull = jax.linear_transpose(lambda x: f(x, a["w"], None), a["x"])
    return [("x", pull(a["g"])[0])]


def _operands(a: Arrays, suffix: str = "") -> dict[str, Any]:
    return {k: a[k + suffix] for k in ("x", "w", "b") if a[k] is not None}


def _jvp(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    def call(operands: Arrays) -> Any:
        return f(operands["x"], operands["w"], operands.get("b"))

    y, tangent = jax.jvp(call, (_operands(a),), (_operands(a, "2"),))
    return [("g", y), ("g", tangent)]


def _tangent(d: Definition, a: Arrays) -> Expected:
    return d.y(a["x2"], a["w"]) + d.y(a["x"], a["w2"], a["b2"])


def _jvp_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [*_output_expected(d, a, mapped), _tangent(d, a)]


def _pull_both(f: Call, a: Arrays) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    return lambda x, w, g: jax.vjp(lambda x, w: f(x, w, a["b"]), x, w)[1](g)


def _forward_over_reverse(
    f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]
) -> Results:
    def pulled(x: Any, w: Any) -> tuple[Any, Any]:
        return _pull_both(f, a)(x, w, a["g"])

    _, (dx, dw) = jax.jvp(pulled, (a["x"], a["w"]), (a["x2"], a["w2"]))
    return [("x", dx), ("w", dw)]


def _forward_over_reverse_expected(
    d: Definition, a: Arrays, mapped: str
) -> list[Expected]:
    return [d.dx(a["g"], a["w2"]), d.dw(a["g"], a["x2"])]


def _reverse_over_reverse(
    f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]
) -> Results:
    _, pull = jax.vjp(_pull_both(f, a), a["x"], a["w"], a["g"])
    dx, dw, dg = pull((a["x2"], a["w2"]))
    return [("x", dx), ("w", dw), ("g", dg)]


def _reverse_over_reverse_expected(
    d: Definition, a: Arrays, mapped: str
) -> list[Expected]:
    cotangent = d.y(a["x2"], a["w"]) + d.y(a["x"], a["w2"])
    return [*_forward_over_reverse_expected(d, a, mapped), cotangent]


def _reverse_over_forward(
    f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]
) -> Results:
    def tangent(x: Any, w: Any, x2: Any, w2: Any) -> Any:
        return jax.jvp(lambda x, w: f(x, w, a["b"]), (x, w), (x2, w2))[1]

    _, pull = jax.vjp(tangent, a["x"], a["w"], a["x2"], a["w2"])
    return list(zip("xwxw", pull(a["g"]), strict=True))


def _reverse_over_forward_expected(
    d: Definition, a: Arrays, mapped: str
) -> list[Expected]:
    once = [d.dx(a["g"], a["w"]), d.dw(a["g"], a["x"])]
    return _forward_over_reverse_expected(d, a, mapped) + once


def stack(
    a: Arrays, names: str, mapped: str, axes: tuple[int, ...]
) -> tuple[list[Any], list[int | None]]:
    """Arrays with their second value beside them where mapped, and the mapped axes."""
    arrays: list[Any] = []
    stacked: list[int | None] = []
    for name, axis in zip(names, axes, strict=False):
        along = name in mapped and a[name] is not None
        at = axis % (a[name].ndim + 1) if along else None
        arrays.append(jnp.stack([a[name], a[name + "2"]], at) if along else a[name])
        stacked.append(at)
    return arrays, stacked


def _rows(a: Arrays, mapped: str) -> Iterator[Arrays]:
    for suffix in ("", "2"):
        yield {k: a[k + suffix] if k in mapped else a[k] for k in ("x", "w", "b", "g")}


def _vmap(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    arrays, stacked = stack(a, "xwb", mapped, axes)
    ys = jax.vmap(f, stacked)(*arrays)
    return [("g", ys[0]), ("g", ys[1])]


def _mapped_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [d.y(row["x"], row["w"], row["b"]) for row in _rows(a, mapped)]


def _vmap_of_vjp(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    def pulled(x: Any, w: Any, b: Any, g: Any) -> Any:
        return jax.vjp(f, x, w, b)[1](g)

    arrays, stacked = stack(a, "xwbg", mapped, axes)
    grads = jax.vmap(pulled, stacked)(*arrays)
    rows = [jax.tree.map(lambda rows, i=i: rows[i], grads) for i in (0, 1)]
    return [result for row in rows for result in _gradients(*row)]


def _vmap_of_vjp_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [e for row in _rows(a, mapped) for e in _pulled(d, row)]


def _vjp_of_vmap(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    arrays, stacked = stack(a, "xw", "xw", axes)
    _, pull = jax.vjp(jax.vmap(lambda x, w: f(x, w, a["b"]), stacked), *arrays)
    dx, dw = (
        jnp.moveaxis(grad, at, 0)
        for grad, at in zip(pull(jnp.stack([a["g"], a["g2"]])), stacked, strict=True)
    )
    return [("x", dx[0]), ("w", dw[0]), ("x", dx[1]), ("w", dw[1])]


def _vjp_of_vmap_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [
        e
        for row in _rows(a, "xwg")
        for e in (d.dx(row["g"], row["w"]), d.dw(row["g"], row["x"]))
    ]


def _vmap_of_vmap(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    """Every input with every weight."""
    (xs, ws), (at, wt) = stack(a, "xw", "xw", axes)
    inner = jax.vmap(lambda x, w: f(x, w, a["b"]), (at, None))
    ys = jax.vmap(inner, (None, wt))(xs, ws)
    return [("g", ys[i, j]) for i in (0, 1) for j in (0, 1)]


def _vmap_of_vmap_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [d.y(a[x], a[w], a["b"]) for w in ("w", "w2") for x in ("x", "x2")]


def _scan(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    arrays, stacked = stack(a, "xwb", mapped, (0, 0, 0))
    rows = tuple(x for x, at in zip(arrays, stacked, strict=True) if at is not None)

    def step(carry: None, row: tuple[Any, ...]) -> tuple[None, Any]:
        row_of = iter(row)
        return carry, f(
            *(
                x if at is None else next(row_of)
                for x, at in zip(arrays, stacked, strict=True)
            )
        )

    ys = jax.lax.scan(step, None, rows)[1]
    return [("g", ys[0]), ("g", ys[1])]


def _vjp_of_scan(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    def run(xs: Any, w: Any) -> Any:
        return jax.lax.scan(lambda _, x: (None, f(x, w, a["b"])), None, xs)[1]

    _, pull = jax.vjp(run, jnp.stack([a["x"], a["x2"]]), a["w"])
    dxs, dw = pull(jnp.stack([a["g"], a["g2"]]))
    return [("x", dxs[0]), ("x", dxs[1]), ("w", dw)]


def _vjp_of_scan_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    return [
        d.dx(a["g"], a["w"]),
        d.dx(a["g2"], a["w"]),
        d.dw(a["g"], a["x"]) + d.dw(a["g2"], a["x2"]),
    ]


def _remat(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    return _vjp(jax.checkpoint(f), a, mapped, axes)


def _jacobian_of_scale(
    f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]
) -> Results:
    """`jacfwd` over one number that scales the input: a basis of one vector."""

    def scaled(c: Any) -> Any:
        return f(a["x"] * c, a["w"], None)

    one = jnp.ones((), a["x"].dtype)
    holomorphic = jnp.iscomplexobj(one)
    return [("g", jax.jacfwd(scaled, holomorphic=holomorphic)(one))]


def _jet(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    """The value and two derivatives along a line."""

    def call(x: Any, w: Any) -> Any:
        return f(x, w, a["b"])

    lines = [[a[name + "2"], jnp.zeros_like(a[name])] for name in "xw"]
    value, (first, second) = jet.jet(call, (a["x"], a["w"]), lines)
    return [("g", value), ("g", first), ("g", second)]


def _jet_expected(d: Definition, a: Arrays, mapped: str) -> list[Expected]:
    first = d.y(a["x2"], a["w"]) + d.y(a["x"], a["w2"])
    half = d.y(a["x2"], a["w2"])
    return [*_output_expected(d, a, mapped), first, half + half]


def _checkify(f: Call, a: Arrays, mapped: str, axes: tuple[int, ...]) -> Results:
    """Off by one where a check fails."""
    checked = checkify.checkify(f, errors=checkify.float_checks)
    error, y = checked(a["x"], a["w"], a["b"])
    flags = [flag for flag in jax.tree.leaves(error) if flag.dtype == bool]
    assert flags or not jnp.issubdtype(y.dtype, jnp.floating), "nothing is checked"
    for flag in flags:
        y = y + flag.astype(y.dtype)
    return [("g", y)]


WAYS: dict[str, Way] = {
    "output": Way(_output, _output_expected, False),
    "vjp": Way(_vjp, _vjp_expected),
    "input gradient": Way(_input_gradient, lambda d, a, mapped: [d.dx(a["g"], a["w"])]),
    "weight gradient": Way(
        _weight_gradient, lambda d, a, mapped: [d.dw(a["g"], a["x"])]
    ),
    "linear_transpose": Way(_transpose, lambda d, a, mapped: [d.dx(a["g"], a["w"])]),
    "jvp": Way(_jvp, _jvp_expected),
    "jacfwd": Way(_jacobian_of_scale, lambda d, a, mapped: [d.y(a["x"], a["w"])]),
    "forward over reverse": Way(_forward_over_reverse, _forward_over_reverse_expected),
    "reverse over reverse": Way(_reverse_over_reverse, _reverse_over_reverse_expected),
    "reverse over forward": Way(_reverse_over_forward, _reverse_over_forward_expected),
    "vmap": Way(_vmap, _mapped_expected, False),
    "vmap of vjp": Way(_vmap_of_vjp, _vmap_of_vjp_expected),
    "vjp of vmap": Way(_vjp_of_vmap, _vjp_of_vmap_expected),
    "vmap of vmap": Way(_vmap_of_vmap, _vmap_of_vmap_expected, False),
    "scan": Way(_scan, _mapped_expected, False),
    "vjp of scan": Way(_vjp_of_scan, _vjp_of_scan_expected),
    "remat": Way(_remat, _vjp_expected),
    "jet": Way(_jet, _jet_expected),
    "checkify": Way(_checkify, _output_expected, False),
}
"""Name -> program and expectation; "eager" and "sharded" are in files of their own."""
