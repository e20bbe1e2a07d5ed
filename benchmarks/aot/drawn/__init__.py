"""Random layers compiled for a TPU: what its choice is made from, and tested on.

`python -m benchmarks.aot.drawn` draws layers as real networks have them, compiles each
of the three maps in every form, and appends the compiler's estimates to a file.
`python -m benchmarks.aot.drawn.report` says how far the choice is from the best form.
"""
