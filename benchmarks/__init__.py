"""Races of jconvt against other transposed convolutions; `python -m benchmarks`."""
