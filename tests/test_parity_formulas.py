"""Frameworks without a door of their own, by the formulas that they document.

Each is written as lax's lowest form: zeros (low, high) around the stride-dilated input,
correlated with the reversed kernel. Here it is the same padding as PyTorch's, or pairs.
"""

import numpy as np
import pytest
from jax import lax

import jconvt
from interop import same, whole

# name -> (n, k, s, d) -> what a user of that framework writes, as it documents it, and
# the same as arguments of jconvt.conv_transpose

P, A = 2, 1  # padding and output_padding
PAIR = (2, 1)


def mlx(n, k, s, d):
    """Symmetric padding and output_padding, as PyTorch."""
    e = d * (k - 1) + 1
    return (e - 1 - P, e - 1 - P + A), {"padding": P, "output_padding": A}


def paddle_pairs(n, k, s, d):
    """Pairs, with an output_padding."""
    e = d * (k - 1) + 1
    zeros = (e - 1 - PAIR[0], e - 1 - PAIR[1] + A)
    return zeros, {"padding": (PAIR,), "output_padding": A}


def paddle_same(n, k, s, d):
    """The padding of a convolution "SAME" of n elements, and no dilation.

    Not n*s elements, and a crop that depends on n: give the pair.
    """
    total = max((-(-n // s) - 1) * s + k - n, 0)
    pair = (total // 2, total - total // 2)
    return (k - 1 - pair[0], k - 1 - pair[1]), {"padding": (pair,), "dilation": 1}


def paddle_valid(n, k, s, d):
    """Nothing cropped, and nothing appended where the kernel is the smaller."""
    e = d * (k - 1) + 1
    return (e - 1, e - 1), {"padding": 0}


def onednn(n, k, s, d):
    """padding_l and padding_r; its dilation counts the gaps alone."""
    gaps = d - 1
    e = (gaps + 1) * (k - 1) + 1
    return (e - 1 - PAIR[0], e - 1 - PAIR[1]), {
        "padding": (PAIR,),
        "dilation": gaps + 1,
    }


def cudnn(n, k, s, d):
    """The gradient of a convolution, padding symmetric; the output's size is told."""
    e = d * (k - 1) + 1
    size = (n - 1) * s + e - 2 * P + A
    return (e - 1 - P, e - 1 - P + A), {"padding": P, "output_size": size}


def coreml_custom(n, k, s, d):
    """Pairs of any kind, as ONNX."""
    e = d * (k - 1) + 1
    return (e - 1 - PAIR[0], e - 1 - PAIR[1]), {"padding": (PAIR,)}


def coreml_same(n, k, s, d):
    """n*s elements, the odd one cropped at the end."""
    e = d * (k - 1) + 1
    low = max(e - s, 0) // 2
    return (e - 1 - low, n * s + e - 1 - ((n - 1) * s + 1) - (e - 1 - low)), {
        "padding": "SAME"
    }


@pytest.mark.parametrize(
    ("n", "k", "s", "d"), [(4, 4, 2, 1), (5, 3, 2, 3), (7, 5, 3, 1)]
)
@pytest.mark.parametrize(
    "rule",
    [
        mlx,
        paddle_pairs,
        paddle_same,
        paddle_valid,
        onednn,
        cudnn,
        coreml_custom,
        coreml_same,
    ],
    ids=lambda rule: rule.__name__,
)
def test_formula(rule, n, k, s, d):
    zeros, options = rule(n, k, s, d)
    x, w = whole(2, 3, n), whole(3, 2, k)
    options = {"stride": s, "dilation": d, **options}
    desired = lax.conv_general_dilated(
        x,
        np.flip(w, 2).copy(),
        (1,),
        [zeros],
        lhs_dilation=(s,),
        rhs_dilation=(options["dilation"],),
        dimension_numbers=("NCW", "IOW", "NCW"),
    )
    same(jconvt.conv_transpose(x, w, **options), desired)


def test_mlxs_layout():
    """(C_out, *K, C_in) and channels last are dimension numbers."""
    x, w = whole(2, 4, 5, 3), whole(2, 4, 3, 3)
    numbers = ("NHWC", "OHWI", "NHWC")
    y = jconvt.conv_transpose(x, w, stride=2, padding=1, dimension_numbers=numbers)
    first = jconvt.conv_transpose(
        np.moveaxis(x, -1, 1), np.transpose(w, (3, 0, 1, 2)), stride=2, padding=1
    )
    same(np.moveaxis(y, -1, 1), first)
