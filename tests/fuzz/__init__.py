"""A fuzzer of jconvt: random calls against the definition, PyTorch and themselves.

`config` says what a call is, `strategies` draws one, `doors` and `ways` make it a
program, `definition` says what it must give, and `check` compares. `python -m fuzz` (in
`tests/`) runs it for a while; `regressions` are the lines that once failed.
"""
