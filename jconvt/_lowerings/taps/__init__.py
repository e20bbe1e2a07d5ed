"""Sums over taps without a matrix product, for `tap_sums`.

The input is multiplied by one tap after the other, and the products are added element
by element: `rows` with features last, `planes` with features first. Read
`jconvt._lowerings.tap_sums` first.
"""
