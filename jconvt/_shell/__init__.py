"""The commands of `python -m jconvt`, a file each, and what they share.

`command.py` says what a command is, `operation.py` reads a layer from the command line,
`tables.py` prints. A command imports what it needs when it runs, so that `shape`
answers without starting JAX.
"""
