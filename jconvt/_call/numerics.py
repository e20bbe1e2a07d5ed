"""Dtypes and precision: their checks, and in which dtype sums are accumulated.

Operands are promoted together by JAX's rules (under strict promotion with JAX's error).
The result has `preferred_element_type`, or else the promoted dtype. 16-bit floats are
summed in float32: backends do so inside one convolution or GEMM, and a lowering that
adds up several of them does so in `Numerics.accumulation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import did_you_mean, is_int

Precision = str | lax.Precision | tuple[lax.Precision, lax.Precision] | None


@dataclass(frozen=True, slots=True)
class Numerics:
    """Precision and result dtype of a lowering.

    Attributes:
      precision: as in lax; a pair is for (input, weight).
      result: dtype of the result.
    """

    precision: Precision
    result: np.dtype[Any]

    @property
    def accumulation(self) -> np.dtype[Any]:
        """The dtype for sums of several convolutions or GEMMs."""
        floating = jnp.issubdtype(self.result, jnp.floating)
        if floating and self.result.itemsize < 4:
            return np.dtype(np.float32)
        return self.result

    @property
    def swapped(self) -> "Numerics":
        """The same for operands in the order (weight, input)."""
        if isinstance(self.precision, tuple):
            for_input, for_weight = self.precision
            return Numerics((for_weight, for_input), self.result)
        return self

    def summed(self) -> "Numerics":
        """The same for a part of a sum, whose result has the dtype `accumulation`."""
        return Numerics(self.precision, self.accumulation)


def check_array(function: str, argument: str, value: object) -> Any:
    """`value` if it is an array JAX can convolve, or a TypeError."""
    if not isinstance(value, jax.Array | np.ndarray):
        # Parameters of Flax NNX and others convert themselves.
        convert = getattr(value, "__jax_array__", None)
        value = convert() if callable(convert) else value
    masked = isinstance(value, np.ma.MaskedArray)
    if masked or not isinstance(value, jax.Array | np.ndarray):
        raise TypeError(
            f"{function}: `{argument}` must be a JAX or NumPy array; got "
            f"{type(value).__name__}. {_instead(argument, value)}"
        )
    check_dtype(function, argument, value.dtype)
    return value


_AS_NUMPY = {"torch": ".detach().numpy()", "tensorflow": ".numpy()"}
"""Framework -> what makes a NumPy array of its tensors and parameters."""


def _instead(argument: str, value: object) -> str:
    """The hint for a value that is no array: how to convert it, or where it goes."""
    framework = type(value).__module__.partition(".")[0]
    if framework in _AS_NUMPY and hasattr(value, "numpy"):
        return f"Convert it first, with {_AS_NUMPY[framework]}."
    numbers = value if isinstance(value, tuple) else (value,)
    if argument == "bias" and numbers and all(map(is_int, numbers)):
        return f"The third argument is `bias`; write stride={value!r}."
    if isinstance(value, jax.ShapeDtypeStruct):
        return "For shapes alone there are jconvt.output_shape and jax.eval_shape."
    convert = "Convert it first, for example with jnp.asarray"
    if isinstance(value, tuple) and all(isinstance(n, int) for n in value):
        return f"{convert}; for shapes alone there is jconvt.output_shape."
    return f"{convert}."


def check_dtype(function: str, argument: str, dtype: Any) -> None:
    """A TypeError unless `dtype` is integer, floating or complex."""
    if not _is_number(dtype):
        raise TypeError(
            f"{function}: `{argument}` must hold integers, floats or complex numbers; "
            f"got dtype {dtype}. Convert it first with .astype."
        )


def as_dtype(function: str, dtype: object) -> np.dtype[Any]:
    """A `dtype` argument as the dtype of an array JAX can convolve, or a TypeError."""
    found = read_dtype(function, "dtype", dtype)
    check_dtype(function, "dtype", found)
    return found


def dtype_hint(dtype: object) -> str:
    """Which dtype was probably meant, also for ``"fp16"`` and ``"c64"``."""
    found = (getattr(value, "dtype", None) for value in vars(jnp).values())
    known = {d.name for d in found if isinstance(d, np.dtype) and _is_number(d)}
    return did_you_mean(dtype, sorted(known), cutoff=0.5)


_NOT_A_DTYPE = (TypeError, ValueError, SyntaxError)
"""What `np.dtype` raises. A string with a comma it parses as Python code."""


def read_dtype(function: str, argument: str, value: Any) -> np.dtype[Any]:
    """The dtype that `value` names, of any kind, or a TypeError."""
    try:
        # NumPy would read None as float64.
        return np.dtype("" if value is None else value)
    except _NOT_A_DTYPE:
        raise TypeError(
            f"{function}: `{argument}` must be a dtype; got {value!r}."
            f"{dtype_hint(value)}"
        ) from None


def _is_number(dtype: Any) -> bool:
    """Whether JAX has this dtype (not float128, not big-endian) and it is a number."""
    known = dtype == getattr(jnp, getattr(dtype, "name", ""), None)
    return known and jnp.issubdtype(dtype, jnp.number)


def settle_dtypes(
    function: str,
    operands: Sequence[ArrayLike | DTypeLike],
    precision: object,
    preferred_element_type: DTypeLike | None,
) -> tuple[np.dtype[Any], Numerics]:
    """The dtype to promote the operands (or dtypes) to, and the numerics."""
    promoted = np.dtype(jnp.result_type(*operands))
    result = promoted
    if preferred_element_type is not None:
        result = _check_preferred(function, promoted, preferred_element_type)
    return promoted, Numerics(check_precision(function, precision), result)


_PRECISIONS = (
    *("default", "fastest", "bfloat16"),
    *("high", "bfloat16_3x", "tensorfloat32"),
    *("highest", "float32"),
)
"""The strings that lax has for `jax.lax.Precision`."""


def check_precision(function: str, precision: object) -> Precision:
    """`precision` as lax takes it, or a TypeError or ValueError."""
    pair = precision if isinstance(precision, tuple | list) else (precision,)
    if len(pair) not in (1, 2) or not all(
        isinstance(p, str | lax.Precision | None) for p in pair
    ):
        raise TypeError(
            f"{function}: `precision` must be None, a string, a jax.lax.Precision or "
            f"two of them; got {precision!r}."
        )
    if pair == (None,):
        return None
    try:
        canonical = tuple(lax.Precision(p) for p in pair)
    except ValueError:
        wrong = (p for p in pair if p not in _PRECISIONS)
        hints = (did_you_mean(p, _PRECISIONS) for p in wrong)
        raise ValueError(
            f"{function}: `precision` must be one of 'default', 'high', 'highest' and "
            f"their aliases in jax.lax.Precision; got {precision!r}."
            f"{next(filter(None, hints), '')}"
        ) from None
    return canonical[0] if len(canonical) == 1 else (canonical[0], canonical[1])


def _check_preferred(
    function: str, promoted: np.dtype[Any], preferred: DTypeLike
) -> np.dtype[Any]:
    try:
        if isinstance(preferred, jax.Array | np.ndarray | np.generic):
            raise TypeError  # NumPy would take its dtype
        result = np.dtype(preferred)
    except _NOT_A_DTYPE:
        raise TypeError(
            f"{function}: `preferred_element_type` must be a dtype; got {preferred!r}."
            f"{dtype_hint(preferred)}"
        ) from None
    if _is_number(result):
        result = np.dtype(dtypes.canonicalize_dtype(result))
    if not _is_number(result) or not _can_hold(promoted, result):
        raise TypeError(
            f"{function}: `preferred_element_type` must be of the operands' kind "
            f"(integers may also give floats) and no narrower; got {result} for "
            f"operands of dtype {promoted}."
        )
    return result


def _can_hold(promoted: np.dtype[Any], result: np.dtype[Any]) -> bool:
    if _bits(result) < _bits(promoted):
        return False
    if jnp.issubdtype(promoted, jnp.integer) and jnp.issubdtype(result, jnp.floating):
        return True
    kinds = (jnp.signedinteger, jnp.unsignedinteger, jnp.floating, jnp.complexfloating)
    return any(
        jnp.issubdtype(promoted, kind) and jnp.issubdtype(result, kind)
        for kind in kinds
    )


def _bits(dtype: np.dtype[Any]) -> int:
    """Bits of a number, or of its real part; the `itemsize` of an int4 is a byte."""
    info = jnp.iinfo if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo
    return info(dtype).bits
