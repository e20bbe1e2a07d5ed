"""Programs compiled for accelerators that are not there, and read: nothing is run.

`python -m benchmarks.aot` compiles layers of the zoo for a GPU or a TPU that XLA knows
by description alone, and reads in the compiled text which library calls were matched,
what was inflated with zeros, and what the compiler itself estimates.
"""
