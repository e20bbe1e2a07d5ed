"""Whole networks: Flax with its own layers, with jconvt's, and PyTorch.

Each network is one description, of which all builds are made, with the same weights.
They must agree in the output and in every gradient before they are timed.
"""

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

import numpy as np

from benchmarks import charts
from benchmarks.networks import in_flax
from benchmarks.networks._build import Build
from benchmarks.networks.descriptions import Network, networks
from benchmarks.options import MODES, Options
from benchmarks.progress import say, track
from benchmarks.report import Cells, Result, Texts, grid, milliseconds
from jconvt._shell.timing import race

RATIOS = (
    ("jconvt", "torch"),
    ("jconvt throughout", "torch"),
    ("flax", "jconvt"),
    ("flax", "jconvt throughout"),
)

TITLES = {False: "Whole networks, forward", True: "Whole networks, a training step"}

SECONDS = 10.0


def results(options: Options) -> Iterator[Result]:
    """A table for each mode."""
    wanted = {row: n for row, n in networks().items() if options.wants(row)}
    seconds = SECONDS if options.seconds is None else options.seconds
    times: dict[bool, dict[str, dict[str, float]]] = {t: {} for t in options.modes}
    for _, network in track("networks", wanted):
        made = builds(network)
        check(network, made)
        for train in options.modes:
            runs = {name: b.step if train else b.forward for name, b in made.items()}
            for run in runs.values():
                run()
            times[train][network.name] = race(runs, seconds=seconds)
    for train, found in times.items():
        yield _result(found, train)


def builds(network: Network) -> dict[str, Build]:
    """The network in every framework that is installed."""
    made = {
        "jconvt": in_flax.build(network, in_flax.jconvt_up),
        "jconvt throughout": in_flax.build(
            network, in_flax.jconvt_up, in_flax.jconvt_conv
        ),
        "flax": in_flax.build(network, in_flax.flax_up),
    }
    if find_spec("torch") is None:
        say("not installed: torch, so there is no network in it")
        return made
    from benchmarks.networks import in_torch

    return made | {"torch": in_torch.build(network)}


def check(network: Network, made: Mapping[str, Build]) -> None:
    """Refuse to time builds that compute different things."""
    reference, *others = made.values()
    output, gradients = reference.output(), reference.gradients()
    scale = max(_largest(gradient) for gradient in gradients)
    allowed = (
        tolerance(network) * _largest(output),
        gradient_tolerance(network) * scale,
    )
    for name, build in zip(list(made)[1:], others, strict=True):
        what = f"{network.name}, output of {name}"
        _agree(what, build.output(), output, allowed[0])
        for n, found in enumerate(zip(build.gradients(), gradients, strict=True)):
            _agree(f"{network.name}, gradient {n} of {name}", *found, allowed[1])


def _agree(what: str, found: np.ndarray, reference: np.ndarray, allowed: float) -> None:
    error = _largest(found - reference)
    if not error <= allowed:
        raise AssertionError(f"{what}: off by {error:.2g}, allowed is {allowed:.2g}")


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def tolerance(network: Network) -> float:
    """How far two right outputs may be apart, in units of the largest value.

    The rounding error of a sum of n terms is at most n*eps/2 times the sum of their
    absolute values, so two right results differ by at most n*eps of it, and errors add
    up on the way through the layers.
    """
    return network.terms * float(np.finfo(np.float32).eps)


def gradient_tolerance(network: Network) -> float:
    """How far two right gradients may be apart, in units of the largest of them all.

    A gradient goes through the sums of the output, then through as many on the way
    back, and is itself a sum over batch and space. That sum is long, and its rounding
    errors have either sign, so they grow with the root of its terms. They are relative
    to the terms, not to what is left of them: the gradient of a bias may be a
    thousandth of its terms, and is no scale for its own error.
    """
    batch, _, *space = network.output_shape
    positions = math.prod((batch, *space))
    terms = 2 * network.terms + math.sqrt(positions)
    return terms * float(np.finfo(np.float32).eps)


def _result(times: Cells, train: bool) -> Result:
    lead: Texts = {
        f"{name} (ms)": {
            row: milliseconds(cells.get(name)) for row, cells in times.items()
        }
        for name in ("jconvt", "jconvt throughout", "flax", "torch")
    }
    over = {
        row: {
            f"{a}/{b}": cells[a] / cells[b] for a, b in RATIOS if {a, b} <= set(cells)
        }
        for row, cells in times.items()
    }
    return Result(
        name=f"networks-{MODES[train]}",
        title=TITLES[train],
        note="Median times, float32: Flax with jconvt's transposed layers; with jconvt "
        "for the plain convolutions too, which are transposed ones of stride 1; with "
        "its own layers; and PyTorch, all from the same weights. A training step: mean "
        "squared error, its gradient by all parameters, and the update by SGD.",
        table=grid("network", over, lead),
        data={"seconds": times},
        chart=lambda path: charts.dots(path, over, TITLES[train], "ratio of times"),
    )
