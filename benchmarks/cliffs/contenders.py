"""What is timed on a drawn layer: jconvt's choice, PyTorch, candidates and JAX's form.

Each contender is a function that prepares a run, so that a contender that does not
compile, or aborts the process, does so alone. Results are not compared here: the
fuzzer does that.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec

import jax

from benchmarks.candidates import arrays_of, layout_of, map_of, problem_of_layer
from benchmarks.cliffs.draw import Drawn
from benchmarks.contenders import pytorch
from benchmarks.contenders.jax_functions import jconvt_first, jconvt_last, native
from jconvt._call.problem import Map, Problem
from jconvt._choice.choose import candidates, choose, estimate
from jconvt._choice.formulation import Formulation
from jconvt._lowerings.work import PLAIN
from jconvt._shell.timing import Run

AUTO, TORCH, NATIVE = "auto", "torch", "native"
MODES = ("forward", "train")
"""The output; or the output and the gradients of input, weight and bias."""

Make = Callable[[], Run]
Formulations = dict[Map, Formulation]
"""What each map of a program runs in."""


def contenders(drawn: Drawn, mode: str, with_candidates: bool) -> dict[str, Make]:
    """Name -> contender; the candidates come last, the most promising first."""
    found: dict[str, Make] = {AUTO: partial(_auto, drawn, mode)}
    if find_spec("torch") is not None:
        found[TORCH] = partial(_torch, drawn, mode)
    found[NATIVE] = partial(_native, drawn, mode)
    if with_candidates:
        problem = _problem(drawn)
        arrays = cache(partial(arrays_of, problem))  # one set for all candidates
        for formulations in _alternatives(problem, mode):
            make = partial(_pinned, problem, arrays, formulations)
            found.setdefault(label(formulations), make)
    return found


def chosen(drawn: Drawn, mode: str) -> str:
    """The name of the candidate that the automatic choice takes."""
    return label(picks(_problem(drawn), mode))


def label(formulations: Formulations) -> str:
    """A candidate's name, such as ``forward: gather, features first``."""
    return "; ".join(f"{which}: {_name(f)}" for which, f in formulations.items())


def _name(formulation: Formulation) -> str:
    lowering, variant, pieces, turned, by_group = formulation
    details = [str(variant)] if variant != PLAIN else []
    details += ["turned"] if turned else []
    details += ["by group"] if by_group else []
    return ", ".join([lowering, *details, *([str(pieces)] if str(pieces) else [])])


def _auto(drawn: Drawn, mode: str) -> Run:
    make = jconvt_last if drawn.channels_last else jconvt_first
    return make(drawn.layer, "float32").prepared(mode == "train").run


def _native(drawn: Drawn, mode: str) -> Run:
    form = native(drawn.layer, "float32", drawn.channels_last)
    return form.prepared(mode == "train").run


def _torch(drawn: Drawn, mode: str) -> Run:
    # PyTorch has a channels-last format for images and volumes alone.
    last = drawn.channels_last and drawn.layer.rank > 1
    return pytorch.torch(drawn.layer, "float32", mode == "train", last).run


# The candidates -----------------------------------------------------------------------


def _problem(drawn: Drawn) -> Problem:
    return problem_of_layer(drawn.layer, features_first=not drawn.channels_last)


def picks(problem: Problem, mode: str) -> Formulations:
    """The automatic choice for each map of the mode."""
    return {
        which: choose(which, "cpu", problem)
        for which in (Map if mode == "train" else (Map.OUTPUT,))
    }


def _alternatives(problem: Problem, mode: str) -> list[Formulations]:
    """The choice, then what else could have been chosen, by its estimated time.

    In training that is another candidate for one of the gradients, or one candidate for
    both: gradients that are made alike share work, so a change of both may pay where a
    change of one does not. The output's candidates are compared in the forward mode.
    """
    choice = picks(problem, mode)
    times = {which: _estimates(which, problem) for which in choice}
    if mode == "forward":
        changes = [{Map.OUTPUT: f} for f in times[Map.OUTPUT]]
    else:
        dx, dw = Map.INPUT, Map.WEIGHT
        changes = [{which: f} for which in (dx, dw) for f in times[which]]
        changes += [{dx: f, dw: f} for f in times[dx] if f in times[dw]]

    def seconds(formulations: Formulations) -> float:
        return sum(times[which].get(f, 0.0) for which, f in formulations.items())

    return [choice, *sorted((choice | change for change in changes), key=seconds)]


def _estimates(which: Map, problem: Problem) -> dict[Formulation, float]:
    """Each candidate of a map, with the seconds that the cost model expects."""
    return {f: estimate(which, problem, f) for f in candidates(which, problem)}


def _pinned(
    problem: Problem,
    arrays: Callable[[], dict[Map, jax.Array]],
    formulations: Formulations,
) -> Run:
    """The maps in these formulations, in one program."""
    maps = [
        map_of(f, which, problem.geometry, layout_of(problem))
        for which, f in formulations.items()
    ]
    compiled = jax.jit(lambda given: [run(given) for run in maps])
    return lambda: jax.block_until_ready(compiled(arrays()))
