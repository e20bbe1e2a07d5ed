"""What the layers of Flax NNX and Flax Linen share.

In: the arguments of a layer's constructor. Out: a checked configuration that is called
with the parameters. `config` is what all of them share, also the ported layers of
`jconvt.interop`; `torch` serves the layers with PyTorch's constructors, `flax` the
replacements of Flax's own layer, `kernel` converts between Flax's kernel and ours, and
`norms` holds weight and spectral norm. Read `config` first.
"""
