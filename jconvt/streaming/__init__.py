"""A transposed convolution of a signal that arrives in chunks, the same as at once.

`init` makes a state, `step` takes a chunk and gives the outputs that it completes, and
`flush` gives the outputs that are left at the end. With ``m`` new input elements along
the streamed axis, a step gives ``m*stride`` outputs, so that a loop over chunks of one
length has constant shapes (`jax.lax.scan`). The outputs of all steps and of the flush,
without the first `delay` of them, are `jconvt.conv_transpose` of the whole signal. The
state has a fixed size, extent minus stride partial sums for each channel, however
long the signal is.

All functions take the options of `jconvt.conv_transpose`, the same ones in each; bind
them once with `functools.partial`. `masked_step` and `masked_flush` are for signals of
different lengths in one batch, and `reset` begins a new signal in some places of a
batch. `stack_delays` and `input_delay` are for layers on top of each other.

The functions are pure. They can be transformed by `jax.jit`, `jax.vmap`, `jax.grad` and
`jax.lax.scan`, and exported by `jax.export` once this module is imported.
"""

from jconvt.streaming._delay import delay, stack_delays
from jconvt.streaming._flush import flush, masked_flush
from jconvt.streaming._init import init
from jconvt.streaming._state import State, reset
from jconvt.streaming._step import masked_step, step

__all__ = [
    "State",
    "delay",
    "flush",
    "init",
    "masked_flush",
    "masked_step",
    "reset",
    "stack_delays",
    "step",
]
