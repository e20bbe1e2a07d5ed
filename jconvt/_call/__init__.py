"""Step 1, the request: options and shapes become checked, static facts.

In: options as users write them, and shapes. Out: a `Call` (all static facts about one
transposed convolution except its sizes) and, given the sizes, a `Problem`. All errors
about options are raised here. Read `options` first, then `geometry`, which computes
every size. The arithmetic imports no JAX. Nothing here imports from the other packages.
"""
