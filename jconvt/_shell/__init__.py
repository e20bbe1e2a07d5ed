"""The commands of `python -m jconvt`, a file each, and what they share.

`operation.py` reads a layer off the command line, `tables.py` prints. A command imports
what it needs when it runs, so that a shape is answered without starting JAX.
"""
