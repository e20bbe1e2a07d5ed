"""A layer of few groups as that many layers without groups. Imports no JAX.

GEMMs of all groups want one matrix for each, so channels of different groups, which
stand side by side, are moved apart and back again; and XLA:CPU's grouped convolutions
are slow. Cut along its channels, a layer of groups becomes ordinary layers, each with
all the ways to compute one.
"""

from dataclasses import replace

from jconvt._call.problem import Problem
from jconvt._lowerings.work import Work


def can_go_by_group(problem: Problem) -> bool:
    """Whether groups are few enough, and have enough channels, to be layers.

    The program grows with the groups.
    """
    groups = problem.geometry.groups
    channels = min(problem.in_channels, problem.out_channels) // groups
    return 1 < groups <= _MOST_GROUPS and channels >= _FEWEST_CHANNELS


def problem_of_group(problem: Problem) -> Problem:
    """The layer that one group is."""
    groups = problem.geometry.groups
    return replace(
        problem,
        geometry=replace(problem.geometry, groups=1),
        in_channels=problem.in_channels // groups,
        out_channels=problem.out_channels // groups,
    )


def work_of_groups(problem: Problem, work: Work) -> Work:
    """The work of all groups, one after the other, from that of one.

    All arrays are cut into groups, or put together of them. These parts are in memory
    at the same time; those of the weight are not, if a lowering prepares its own.
    """
    total = Work().and_then(work, problem.geometry.groups)
    weights = 0 if work.prepared else problem.weights
    parts = problem.inputs + problem.outputs + weights
    return replace(
        total,
        cut=total.cut + parts,
        temporary=total.temporary + parts,
        peak=total.peak + parts,
    )


_MOST_GROUPS = 16
_FEWEST_CHANNELS = 4
