"""Step 1, the request: from what a caller wrote to checked, static facts.

In: options as users write them, and shapes. Out: a `Call` (everything static about one
transposed convolution but its sizes), and with sizes a `Problem`. All error messages
about options come from here. `options` is the file to read first, then `geometry`,
which derives every size. Most files import no JAX, so that sizes can be calculated
without it. Nothing here imports from the other packages.
"""
