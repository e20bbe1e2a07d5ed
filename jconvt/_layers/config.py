"""A layer without its parameters: what every kind of layer settles and runs."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jconvt._call.arguments import IntOrInts
from jconvt._call.call import RunOptions
from jconvt._call.lowerings import AUTO, Lowerings
from jconvt._call.numerics import Precision
from jconvt._call.options import Options
from jconvt._maps.execute import execute


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """All of a layer but its parameters.

    Attributes:
      options: stride, padding and all else that is settled without shapes.
      dtype: what input and parameters are cast to; None: what they promote to.
      precision: as in lax.
      preferred_element_type: dtype of the result; None: that of the computation.
      lowering: ``"auto"``, a lowering's name, or a name for each map.
    """

    options: Options
    dtype: np.dtype[Any] | None = None
    precision: Precision = None
    preferred_element_type: DTypeLike | None = None
    lowering: str | Lowerings = AUTO

    def run(
        self,
        input: jax.Array,
        weight: ArrayLike,
        bias: ArrayLike | None,
        output_size: IntOrInts | None,
        dtype: DTypeLike | None,
    ) -> jax.Array:
        """The output of an array with these parameters, all cast to `dtype`."""
        options, run = self.at_call(output_size, input.ndim)
        return execute(options, input, weight, bias, dtype=dtype, **run)

    def at_call(
        self, output_size: IntOrInts | None, axes: int
    ) -> tuple[Options, RunOptions]:
        """What is run for an input of `axes` axes.

        A given `output_size` replaces `output_padding`, and may be a whole shape.
        """
        options = self.options
        if output_size is not None:
            options = replace(options, output_padding=(0,) * options.rank)
        return options, {
            "output_size": self._spatial(output_size, axes),
            "precision": self.precision,
            "preferred_element_type": self.preferred_element_type,
            "lowering": self.lowering,
        }

    def _spatial(self, output_size: Any, axes: int) -> Any:
        """The spatial entries of an output size that is a whole output shape."""
        function, rank = self.options.function, self.options.rank
        whole = isinstance(output_size, tuple | list) and len(output_size) != rank
        if not whole or axes <= rank:  # such an input is refused elsewhere
            return output_size
        if len(output_size) != axes:
            raise ValueError(
                f"{function}: `output_size` must be an int, {rank} ints or a whole "
                f"output shape, which for an input of {axes} axes has {axes}; got "
                f"{len(output_size)}: {output_size!r}."
            )
        one = tuple(output_size[-rank - 2 :])
        return self.options.layout.spatial(one, len(one) == rank + 2)
