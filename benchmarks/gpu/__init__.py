"""The race on the GPU that is here, within a time that is given.

`python -m benchmarks.gpu` (`make bench-gpu`) races layer after layer of the zoo, each
forward and in training, in float32 and bfloat16, and writes the tables anew after every
layer. Contenders run in a process of their own, as in `benchmarks.cliffs`: one that
hangs or crashes loses its cell, and the race goes on. On a machine without a GPU all of
it runs on the CPU.

`race.py` is the file to read first. `worker` races one layer, `contenders` says who
races, `layers` which layers and how large they are, and `tuning` has the networks of
``--tune``.
"""
