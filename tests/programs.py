"""What a traced or compiled program holds."""

import math
from typing import NamedTuple

import jax
from jax.extend import core


class Dot(NamedTuple):
    """The sizes of one `lax.dot_general`."""

    batch: int
    rows: int
    columns: int
    inner: int

    @property
    def multiply_adds(self):
        return math.prod(self)

    @property
    def left(self):
        """Elements of the first operand."""
        return self.batch * self.rows * self.inner

    @property
    def right(self):
        """Elements of the second operand."""
        return self.batch * self.inner * self.columns

    @property
    def result(self):
        return self.batch * self.rows * self.columns


def dots(function, *arrays):
    """The sizes of each `lax.dot_general` that a call executes."""
    return [_dot(equation) for equation in equations("dot_general", function, *arrays)]


def equations(primitive, function, *arrays):
    """Those of a primitive that a call executes, in calls inside it too."""
    found = _equations(jax.make_jaxpr(function)(*arrays).jaxpr)
    return [equation for equation in found if equation.primitive.name == primitive]


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for parameter in jax.tree.leaves(list(equation.params.values())):
            if isinstance(parameter, core.ClosedJaxpr):
                yield from _equations(parameter.jaxpr)
            elif isinstance(parameter, core.Jaxpr):
                yield from _equations(parameter)


def _dot(equation):
    (inner, _), (batch, _) = equation.params["dimension_numbers"]
    left, right = (operand.aval.shape for operand in equation.invars)
    both, along = (math.prod(left[axis] for axis in axes) for axes in (batch, inner))
    rows, columns = (math.prod(s) // (both * along) for s in (left, right))
    return Dot(both, rows, columns, along)
