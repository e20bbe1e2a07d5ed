"""A search for cliffs: layers on which jconvt is much slower than it has to be.

`python -m benchmarks.cliffs` (`make cliffs`) draws layers at random, as real networks
have them, and times each one forward and in training: jconvt's automatic choice, every
formulation that it could have chosen, JAX's own form and PyTorch. Read in this order:

- `draw`: a layer from a seed and a number.
- `contenders`: what is timed on a layer.
- `race`: the times of one layer, in bounded time.
- `worker` and `child`: the process that races, and the one that watches over it.
- `lines`: the file of results, a line of JSON for each layer and mode.
- `report`: several such files as tables.
"""
