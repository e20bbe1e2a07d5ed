"""What the formulations by matrix products share: patches, kernels, and their joins.

`blocks` cuts an axis into blocks of outputs and tells which input elements and taps
each of them reads; `lower` gathers these elements into matrices (`sheet`), multiplies
them by matrices of taps (`kernels`) and puts the products in their places (`joins`,
`places`). `filters` are the minimal filters of `winograd`. `work` counts what all of it
costs. Read `blocks` first, then `lower`.
"""
