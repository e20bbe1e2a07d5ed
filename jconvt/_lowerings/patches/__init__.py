"""im2col for transposed convolutions: patches, kernel matrices, and their products.

`blocks` cuts an axis into blocks of outputs and tells which input elements and taps
each of them needs. `lower` gathers these elements into patch matrices (`sheet`),
multiplies them by matrices of taps (`kernels`) and assembles the output from the
products (`joins`, `places`). `filters` are the minimal filters of `winograd`, and
`work` the counts. Read `blocks` first, then `lower`.
"""
