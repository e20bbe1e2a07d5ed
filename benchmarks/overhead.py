"""The time of a call beside its arithmetic, and of the import."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
from jax import lax

import jconvt
from benchmarks.environment import ROOT
from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.report import Result, grid
from jconvt._shell.timing import Run, race

IMPORTS = 7

_IMPORT = """
from time import perf_counter as now
start = now()
import jax
jax_there = now()
import jconvt
print(jax_there - start, now() - jax_there)
"""


def results(options: Options) -> Iterator[Result]:
    """One table."""
    seconds = 2.0 if options.seconds is None else options.seconds
    say("overhead: calls")
    times = {name: race(runs, seconds=seconds) for name, runs in _calls().items()}
    say(f"overhead: {IMPORTS} imports")
    times["`import jconvt` after `import jax`, and `import jax`"] = _imports()
    lead = {
        name: {row: _readable(cells[name]) for row, cells in times.items()}
        for name in ("jconvt", "JAX")
    }
    over = {row: {"ratio": c["jconvt"] / c["JAX"]} for row, c in times.items()}
    yield Result(
        name="overhead",
        title="Overhead: a tiny layer, and the import",
        note="Kernel and stride 2 on (1, 4, 4, 4), without a bias: what is timed is "
        "the way to the arithmetic. JAX is `lax.conv_general_dilated` with its "
        f"`lhs_dilation` and the weight turned round beforehand. Medians; of {IMPORTS} "
        "processes for the imports.",
        table=grid("", over, lead, summaries=False),
        data={"seconds": times},
    )


def _readable(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def _calls() -> dict[str, dict[str, Run]]:
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 4))
    w = jax.random.normal(jax.random.key(1), (4, 4, 2, 2))
    turned = w[:, :, ::-1, ::-1]
    ours = partial(jconvt.conv_transpose, stride=2)
    native = partial(
        lax.conv_general_dilated,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NCHW", "IOHW", "NCHW"),
    )
    both = {"jconvt": (ours, w), "JAX": (native, turned)}
    return {
        "call, jitted": {
            name: _run(jax.jit(function), x, weight)
            for name, (function, weight) in both.items()
        },
        "call and all gradients, jitted": {
            name: _run(jax.jit(_gradients(function)), x, weight)
            for name, (function, weight) in both.items()
        },
        "call, eager": {
            name: _run(function, x, weight) for name, (function, weight) in both.items()
        },
    }


def _gradients(function: Callable[..., jax.Array]) -> Callable[..., object]:
    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        return (function(x, w) ** 2).sum()

    return jax.value_and_grad(loss, argnums=(0, 1))


def _run(function: Callable[..., object], *arrays: jax.Array) -> Run:
    def run() -> object:
        return jax.block_until_ready(function(*arrays))

    run()
    return run


def _imports() -> dict[str, float]:
    """The median seconds of both imports, each in a new process."""
    found = [
        subprocess.run(
            [sys.executable, "-c", _IMPORT],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(IMPORTS)
    ]
    of_jax, of_jconvt = np.median(np.array(found, float), axis=0)
    return {"jconvt": float(of_jconvt), "JAX": float(of_jax)}
