"""`jconvt.tune`: measures the layers of a function, and pins the fastest lowerings.

`tune.py` is the file to read first. `layers` finds the transposed convolutions in a
trace, `candidates` lists what may compute each map, `measure` times them, `programs`
rewrites a trace, and `report` says what was found.
"""
