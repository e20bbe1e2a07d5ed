"""Step 4, the formulations: several ways to compute the same transposed convolution.

In: input and weight as arrays, and a `Call`. Out: the output. Each lowering is one
file with a `LOWERING` row (see `row`), and `table` lists the rows; read `lhs_dilation`
first, which is a single convolution, then `gather`. `work` holds the counts of
operations and memory traffic by which lowerings are compared. Several lowerings use the
packages `patches` and `taps`.
"""
