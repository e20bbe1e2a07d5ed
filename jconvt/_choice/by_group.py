"""A layer of few groups as that many layers without groups. Imports no JAX.

A GEMM of all groups needs one matrix for each group. So the channels of different
groups, which stand side by side, are moved apart and back again. And XLA:CPU's grouped
convolutions are slow. Cut along its channels, a layer of groups becomes ordinary
layers, each with all the ways to compute one.
"""

from dataclasses import replace

from jconvt._call.problem import Problem
from jconvt._lowerings.work import Work


def can_go_by_group(problem: Problem) -> bool:
    """Whether groups are few enough, and have enough channels, to be layers.

    Each group adds a copy of the lowering's code to the program.
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

    Operands are cut into one part for each group, and the result is put together from
    such parts. All of them are in memory at the same time. A lowering that writes a
    prepared kernel reads the weight in place, so parts of the weight are not counted.
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
"""Of 32 groups, six of nine outputs took longer one by one."""

_FEWEST_CHANNELS = 4
"""Of a group, in input and output. Groups of fewer were not timed."""
