"""Sums of taps without a matrix product, for `tap_sums`.

Every tap of the kernel is multiplied with the input elements that it meets, and the
products are added element by element: `rows` with channels last, `planes` with channels
first. Read `jconvt._lowerings.tap_sums` first.
"""
