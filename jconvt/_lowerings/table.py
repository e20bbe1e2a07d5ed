"""The table of lowerings: every way in which jconvt can compute the operation.

To add one, write a file with a `LOWERING` row and enter the row here; the tests include
every row. `jconvt._choice.choose` decides where ``lowering="auto"`` uses it.
"""

from jconvt._lowerings import (
    fused_phases,
    gather,
    lhs_dilation,
    matmul,
    overlap_add,
    phases,
    role_swapped,
    space_to_batch,
    tap_sums,
    winograd,
)
from jconvt._lowerings.row import Lowering

LOWERINGS: dict[str, Lowering] = {
    row.name: row
    for row in (
        lhs_dilation.LOWERING,
        phases.LOWERING,
        fused_phases.LOWERING,
        matmul.LOWERING,
        gather.LOWERING,
        winograd.LOWERING,
        overlap_add.LOWERING,
        tap_sums.LOWERING,
        role_swapped.LOWERING,
        space_to_batch.LOWERING,
    )
}
