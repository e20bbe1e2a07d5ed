"""Geometries to try, by name: the shapes where transposed convolutions go wrong.

`GEOMETRIES` are this project's own, `PUBLISHED` those of the test suites of PyTorch,
ONNX, JAX, Flax, Equinox and MindSpore. `CORE` is one of each kind, for tests that
multiply the table by something else.
"""

import dataclasses
import itertools
import zlib

import numpy as np

import oracles

Ints = int | tuple[int, ...]
RULES = {
    "VALID": oracles.valid_crop,
    "SAME": oracles.same_crop,
    "SAME_LOWER": oracles.same_lower_crop,
    "CAUSAL": oracles.causal_crop,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One call: the sizes of its arrays and the options as a user writes them."""

    name: str
    space: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: Ints = 1
    padding: Ints | str | tuple[tuple[int, int], ...] = 0
    output_padding: Ints = 0
    dilation: Ints = 1
    groups: int = 1
    channels: tuple[int, int] = (2, 3)
    batch: int = 2
    bias: bool = True

    def __str__(self):
        return self.name

    @property
    def rank(self):
        return len(self.space)

    def each(self, option):
        """An option that is one number or one an axis, as one an axis."""
        return (option,) * self.rank if isinstance(option, int) else tuple(option)

    @property
    def crop(self):
        if isinstance(self.padding, str):
            rule = RULES[self.padding]
            sizes = (self.space, self.kernel, self.stride, self.dilation)
            crop = [rule(*axis) for axis in zip(*map(self.each, sizes), strict=True)]
        else:
            crop = [
                (p, p) if isinstance(p, int) else p for p in self.each(self.padding)
            ]
        more = self.each(self.output_padding)
        return tuple((low, high - a) for (low, high), a in zip(crop, more, strict=True))

    @property
    def geometry(self):
        """What the oracles take."""
        return {
            "stride": self.each(self.stride),
            "crop": self.crop,
            "dilation": self.each(self.dilation),
            "groups": self.groups,
        }

    @property
    def options(self):
        """What `jconvt.conv_transpose` takes: the options that are not the defaults."""
        given = {
            name: getattr(self, name)
            for name in ("stride", "padding", "output_padding", "dilation", "groups")
        }
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
        defaults["groups"] = 1
        return {k: v for k, v in given.items() if v != defaults[k]}

    @property
    def torch_like(self):
        """Whether `conv_transpose1d/2d/3d`, so PyTorch, can say it."""
        plain = all(isinstance(p, int) for p in self.each(self.padding))
        return self.rank in (1, 2, 3) and not isinstance(self.padding, str) and plain

    @property
    def input_shape(self):
        return (self.batch, self.channels[0], *self.space)

    @property
    def weight_shape(self):
        return (self.channels[0], self.channels[1] // self.groups, *self.kernel)

    @property
    def output_shape(self):
        geometry = {k: v for k, v in self.geometry.items() if k != "groups"}
        size = oracles.cropped_size(self.space, self.kernel, **geometry)
        return (self.batch, self.channels[1], *size)

    def arrays(self, dtype=np.float32):
        """Input, weight, bias (or None) and cotangent, the same for each run."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        shapes = [self.input_shape, self.weight_shape, self.channels[1:]]
        arrays = [random(rng, shape, dtype) for shape in (*shapes, self.output_shape)]
        if not self.bias:
            arrays[2] = None
        return arrays


def random(rng, shape, dtype):
    """Values of the type's usual size: the whole range of an integer's."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


# One axis: kernel against stride, then dilation, crop, channels and sizes -------------

ONE_AXIS = [
    Case("k1", (5,), (1,)),
    Case("k1_s3_holes", (4,), (1,), stride=3),
    Case("k2_s3_holes", (4,), (2,), stride=3),
    Case("k2_s5_op4_holes", (3,), (2,), stride=5, output_padding=4),
    Case("k3_s1", (5,), (3,)),
    Case("k4_s1_p1", (5,), (4,), padding=1),
    Case("k2_s2", (5,), (2,), stride=2),
    Case("k3_s3", (4,), (3,), stride=3),
    Case("k4_s4_op3", (3,), (4,), stride=4, output_padding=3),
    Case("k3_s3_p1", (4,), (3,), stride=3, padding=1),
    Case("k3_s2_p1_op1", (5,), (3,), stride=2, padding=1, output_padding=1),
    Case("k4_s2_p1", (5,), (4,), stride=2, padding=1),
    Case("k5_s2_p2_op1", (4,), (5,), stride=2, padding=2, output_padding=1),
    Case("k5_s3", (4,), (5,), stride=3),
    Case("k6_s3_p2", (4,), (6,), stride=3, padding=2),
    Case("k7_s4_p1_op2", (3,), (7,), stride=4, padding=1, output_padding=2),
    Case("k9_s4_p4_op3", (5,), (9,), stride=4, padding=4, output_padding=3),
    Case("k8_s1_p3", (9,), (8,), padding=3),
    # dilation
    Case("k3_d2", (5,), (3,), dilation=2),
    Case("k3_s2_d3_coprime", (4,), (3,), stride=2, dilation=3),
    Case("k3_s3_d2_coprime", (4,), (3,), stride=3, dilation=2),
    Case("k4_s2_d2_equal", (4,), (4,), stride=2, dilation=2, padding=1),
    Case("k3_s4_d2_common", (4,), (3,), stride=4, dilation=2),
    Case("k3_s2_d4_multiple", (4,), (3,), stride=2, dilation=4, padding=2),
    Case("k4_s6_d4_common", (3,), (4,), stride=6, dilation=4, output_padding=5),
    Case("k3_s6_d9_common", (3,), (3,), stride=6, dilation=9, padding=4),
    Case("k2_s2_d3_kernel_is_stride", (4,), (2,), stride=2, dilation=3),
    Case("k3_s2_d4_op3_over_stride", (4,), (3,), 2, 3, output_padding=3, dilation=4),
    Case("k2_s1_d5_op4_over_stride", (3,), (2,), 1, 0, output_padding=4, dilation=5),
    # crop
    Case("crop_low", (5,), (4,), stride=2, padding=((2, 0),)),
    Case("crop_high", (5,), (4,), stride=2, padding=((0, 3),)),
    Case("crop_both_uneven", (5,), (5,), stride=3, padding=((1, 3),)),
    Case("crop_with_output_padding", (5,), (5,), 3, ((1, 3),), output_padding=2),
    Case("crop_negative", (4,), (3,), stride=2, padding=((-2, -3),)),
    Case("crop_negative_low", (4,), (3,), stride=2, padding=((-3, 2),)),
    Case("crop_negative_low_wide", (8,), (3,), 2, ((-3, 2),), channels=(3, 4)),
    Case("crop_negative_high", (4,), (3,), stride=3, padding=((2, -4),)),
    Case("crop_negative_of_block", (4,), (2,), stride=2, padding=((-1, -1),)),
    Case("crop_over_kernel", (6,), (3,), stride=2, padding=4),
    Case("crop_over_kernel_holes", (5,), (2,), stride=3, padding=4),
    Case("crop_over_kernel_dilated", (7,), (3,), stride=2, padding=6, dilation=2),
    Case("crop_to_a_hole_common", (2,), (2,), 2, ((1, 3),), dilation=2),
    Case("appended_common", (3,), (3,), 4, ((-3, -2),), dilation=6),
    Case("crop_over_kernel_s1", (7,), (3,), padding=4),
    Case("crop_mixed_s1", (7,), (3,), padding=((4, -1),)),
    Case("crop_mixed_s1_high", (7,), (3,), padding=((-2, 4),)),
    Case("crop_drops_input", (7,), (2,), stride=2, padding=((5, 4),)),
    Case("crop_to_one", (4,), (3,), stride=2, padding=4),
    Case("crop_to_none", (3,), (4,), stride=2, padding=4),
    Case("crop_to_none_uneven", (3,), (3,), stride=2, padding=((0, 7),)),
    Case("crop_to_a_hole", (4,), (1,), stride=4, padding=((1, 9),)),
    # strings
    Case("same_k4_s2", (5,), (4,), stride=2, padding="SAME"),
    Case("same_k5_s2_odd_overlap", (5,), (5,), stride=2, padding="SAME"),
    Case("same_k2_s3_holes", (4,), (2,), stride=3, padding="SAME"),
    Case("same_k3_s2_d3", (5,), (3,), stride=2, padding="SAME", dilation=3),
    Case("same_lower_k5_s2", (5,), (5,), stride=2, padding="SAME_LOWER"),
    Case("same_lower_k2_s3_holes", (4,), (2,), stride=3, padding="SAME_LOWER"),
    Case("valid_k4_s2", (5,), (4,), stride=2, padding="VALID"),
    Case("valid_k2_s3_holes", (4,), (2,), stride=3, padding="VALID"),
    Case("causal_k4_s2", (5,), (4,), stride=2, padding="CAUSAL"),
    Case("causal_k2_s3_holes", (4,), (2,), stride=3, padding="CAUSAL"),
    Case("causal_k3_s2_d2", (4,), (3,), stride=2, padding="CAUSAL", dilation=2),
    Case("same_op1", (4,), (4,), stride=2, padding="SAME", output_padding=1),
    # channels
    Case("groups", (4,), (4,), stride=2, groups=2, channels=(4, 6)),
    Case("groups_one_in", (4,), (3,), stride=2, groups=3, channels=(3, 6)),
    Case("groups_one_out", (4,), (3,), stride=2, groups=3, channels=(6, 3)),
    Case("groups_dilated", (4,), (3,), 2, 1, 1, dilation=3, groups=2, channels=(4, 4)),
    Case("groups_of_blocks", (4,), (3,), stride=3, groups=2, channels=(4, 2)),
    Case("depthwise", (4,), (4,), stride=2, padding=1, groups=4, channels=(4, 4)),
    Case("depthwise_s1", (5,), (3,), padding=1, groups=3, channels=(3, 3)),
    Case("depthwise_odd_phase", (4,), (5,), stride=3, groups=3, channels=(3, 3)),
    Case("depthwise_dilated", (4,), (3,), 2, 2, dilation=2, groups=3, channels=(3, 3)),
    Case("depthwise_multiplier", (4,), (3,), stride=2, groups=3, channels=(3, 9)),
    Case("depthwise_single", (4,), (3,), stride=2, groups=1, channels=(1, 1)),
    Case("one_out", (4,), (9,), stride=4, padding=4, channels=(5, 1)),
    Case("one_in", (4,), (4,), stride=2, channels=(1, 5)),
    # sizes
    Case("one_element", (1,), (4,), stride=2),
    Case("one_element_holes", (1,), (2,), stride=5, output_padding=4),
    Case("one_element_cropped", (1,), (5,), stride=3, padding=1),
    Case("kernel_over_input", (2,), (7,), stride=2, padding=1),
    Case("kernel_over_input_s1", (2,), (9,), padding=2),
    Case("no_batch", (4,), (4,), stride=2, padding=1, batch=0),
    Case("no_input_channels", (4,), (4,), stride=2, channels=(0, 3)),
    Case("no_output_channels", (4,), (4,), stride=2, channels=(2, 0)),
    Case("no_space", (0,), (4,), stride=2),
    Case("no_space_all_cropped", (0,), (4,), stride=2, padding=1),
    Case("no_space_blocks", (0,), (3,), stride=3),
    Case("no_space_added", (0,), (2,), stride=2, padding=((-1, -2),)),
    Case("no_bias", (4,), (4,), stride=2, padding=1, bias=False),
]

# Other ranks --------------------------------------------------------------------------

RANKS = [
    Case("0d", (), ()),
    Case("0d_groups", (), (), groups=2, channels=(4, 6)),
    Case("0d_no_batch", (), (), batch=0),
    Case("2d_k1_s2_holes", (3, 2), (1, 1), stride=2),
    Case("2d_k2_s2", (3, 2), (2, 2), stride=2),
    Case("2d_k2_s2_groups", (3, 2), (2, 2), stride=2, groups=2, channels=(4, 4)),
    Case("2d_k3_s2_p1_op1", (3, 4), (3, 3), stride=2, padding=1, output_padding=1),
    Case("2d_k4_s2_p1", (3, 4), (4, 4), stride=2, padding=1),
    Case("2d_k3_s1_p1", (4, 3), (3, 3), padding=1),
    Case("2d_k3_s3_d2", (3, 2), (3, 3), stride=3, dilation=2),
    Case("2d_block_by_overlap", (3, 3), (2, 3), stride=(2, 1), padding=(0, 1)),
    Case("2d_uneven", (3, 4), (3, 4), (2, 3), (1, 2), (1, 0), dilation=(1, 2)),
    Case("2d_uneven_crop", (3, 4), (3, 4), (2, 3), padding=((-1, 2), (3, 0))),
    Case(
        "2d_crop_negative_low", (5, 4), (3, 3), 2, ((-3, 2), (-3, 2)), channels=(3, 4)
    ),
    Case("2d_mixed_crop_s1", (5, 5), (2, 2), padding=((3, -1), (0, 0))),
    Case("2d_flat_rows", (1, 5), (1, 4), stride=(1, 2), padding=(0, 1)),
    Case("2d_flat_columns", (5, 1), (4, 1), stride=(2, 1), padding=(1, 0)),
    Case("2d_over_stride", (3, 3), (2, 3), (1, 2), (0, 2), (2, 3), dilation=(3, 4)),
    Case("2d_groups", (3, 3), (4, 4), 2, 1, groups=2, channels=(4, 6)),
    Case("2d_depthwise", (3, 3), (4, 4), 2, 1, groups=3, channels=(3, 3)),
    Case("2d_depthwise_wide", (3, 2), (6, 5), 4, 1, groups=2, channels=(2, 2)),
    Case("2d_same", (3, 4), (3, 4), stride=(2, 3), padding="SAME"),
    Case("2d_valid", (3, 4), (1, 4), stride=(2, 3), padding="VALID"),
    Case("2d_no_rows", (0, 3), (3, 3), stride=2),
    Case("2d_no_rows_all_cropped", (0, 3), (4, 3), stride=2, padding=(1, 0)),
    Case("2d_crop_to_none", (3, 3), (3, 3), stride=2, padding=((7, 0), (0, 0))),
    Case("2d_no_batch", (3, 3), (2, 2), stride=2, batch=0),
    Case("2d_one_element", (1, 1), (4, 4)),
    Case("3d_k1_s2_holes", (2, 2, 2), (1, 1, 1), stride=2),
    Case("3d_k2_s2", (2, 3, 2), (2, 2, 2), stride=2),
    Case("3d_k3_s2_p1_op1", (2, 3, 2), (3, 3, 3), 2, 1, 1),
    Case("3d_k4_s2_p1", (2, 2, 2), (4, 4, 4), 2, 1),
    Case("3d_uneven", (2, 3, 2), (2, 3, 1), (1, 2, 3), (0, 1, 0), (0, 1, 2)),
    Case("3d_frames", (2, 3, 3), (1, 2, 2), stride=(1, 2, 2)),
    Case("3d_dilated", (2, 2, 3), (2, 2, 2), (2, 3, 1), 1, dilation=(1, 2, 3)),
    Case("3d_groups", (2, 2, 2), (3, 2, 3), 2, 1, groups=2, channels=(4, 2)),
    Case("3d_depthwise", (2, 2, 2), (3, 2, 3), 2, groups=3, channels=(3, 3)),
    Case("4d", (2, 2, 1, 3), (2, 1, 2, 2), stride=(2, 1, 1, 2)),
    Case("4d_cropped", (2, 2, 2, 2), (2, 3, 2, 2), 2, (0, 1, 0, 0), (1, 1, 0, 0)),
    Case("4d_groups", (1, 2, 2, 2), (2, 2, 1, 3), 2, groups=2, channels=(2, 2)),
]

GEOMETRIES = ONE_AXIS + RANKS

CORE = [
    case
    for case in GEOMETRIES
    if case.name
    in (
        "k2_s3_holes",
        "k3_s1",
        "k3_s3",
        "k4_s2_p1",
        "k5_s3",
        "k3_s3_d2_coprime",
        "k4_s6_d4_common",
        "k3_s2_d4_op3_over_stride",
        "crop_negative_low_wide",
        "2d_crop_negative_low",
        "crop_mixed_s1",
        "crop_over_kernel",
        "crop_drops_input",
        "crop_to_none",
        "same_k5_s2_odd_overlap",
        "groups",
        "groups_dilated",
        "depthwise_odd_phase",
        "depthwise_multiplier",
        "one_element",
        "kernel_over_input",
        "no_batch",
        "no_input_channels",
        "no_output_channels",
        "no_space",
        "0d_groups",
        "2d_k2_s2",
        "2d_block_by_overlap",
        "2d_uneven",
        "2d_groups",
        "2d_depthwise",
        "2d_no_rows",
        "3d_k2_s2",
        "3d_uneven",
        "3d_groups",
        "4d",
    )
]

# Published ----------------------------------------------------------------------------

# PyTorch: the operation's own samples, each of which it also tries unbatched, and the
# layers of its module tests.
TORCH = [
    Case("torch_1d", (4,), (3,), 2, 2, 1, channels=(3, 3), batch=1),
    Case("torch_1d_groups", (4,), (4,), 3, 1, 2, 4, groups=2, channels=(2, 4)),
    Case("torch_1d_dilated", (4,), (4,), 2, 1, 1, 2, channels=(1, 1), batch=1),
    Case("torch_1d_no_bias", (4,), (3,), 2, 1, 1, channels=(1, 2), batch=1, bias=False),
    Case("torch_1d_plain", (5,), (3,), channels=(4, 8), batch=1, bias=False),
    Case("torch_2d", (4, 4), (3, 3), 2, 2, 1, channels=(3, 3), batch=1),
    Case(
        "torch_2d_over_stride", (4, 4), (4, 5), (3, 2), (1, 2), (2, 3), 4, 2, (2, 4), 2
    ),
    Case("torch_2d_dilated", (4, 5), (4, 3), 2, 1, 1, (2, 3), 1, (1, 1), 1),
    Case("torch_2d_uneven", (4, 3), (3, 4), 2, 1, 1, 1, 1, (1, 2), 1, bias=False),
    Case("torch_2d_depthwise", (4, 4), (3, 3), groups=4, channels=(4, 4), bias=False),
    Case("torch_2d_plain", (5, 5), (3, 3), channels=(2, 4), batch=1, bias=False),
    Case("torch_3d", (4, 4, 4), (3, 3, 3), 2, 2, 1, channels=(3, 3), batch=1),
    Case(
        "torch_3d_over_stride",
        (4, 4, 4),
        (4, 5, 6),
        stride=(3, 2, 1),
        padding=(1, 2, 3),
        output_padding=(2, 3, 1),
        dilation=4,
        groups=2,
        channels=(2, 4),
    ),
    Case("torch_3d_dilated", (4, 5, 2), (4, 3, 1), 2, 1, 1, (2, 3, 2), 1, (1, 1), 1),
    Case("torch_3d_uneven", (4, 3, 4), (3, 4, 5), 2, 1, 1, 1, 1, (1, 2), 1, bias=False),
    Case("torch_3d_plain", (5, 5, 5), (3, 3, 3), channels=(4, 8), batch=1, bias=False),
    Case("torch_module_1d", (7,), (3,), 3, 1, 1, channels=(3, 4), batch=1),
    Case("torch_module_1d_dilated", (6,), (3,), 3, 1, 1, 2, 1, (3, 4), 1),
    Case("torch_module_1d_groups", (7,), (3,), 3, 1, 1, 2, 2, (4, 6)),
    Case("torch_module_2d", (7, 6), (3, 3), (3, 2), 1, 1, channels=(3, 4), batch=1),
    Case("torch_module_2d_dilated", (6, 7), (3, 3), (3, 2), 1, 1, 2, 1, (3, 4), 1),
    Case("torch_module_2d_groups", (2, 3), (3, 3), 1, 0, 0, 1, 2, (2, 4), 1),
    Case("torch_module_3d", (4, 5, 4), (2, 3, 2), channels=(2, 3), batch=1),
    Case("torch_module_3d_dilated", (4, 5, 4), (2, 3, 2), 1, 0, 0, 2, 1, (2, 3), 1),
]

# ONNX: the node tests of ConvTranspose.
ONNX = [
    Case("onnx_1d", (3,), (3,), channels=(1, 2), batch=1, bias=False),
    Case("onnx_2d", (3, 3), (3, 3), channels=(1, 2), batch=1, bias=False),
    Case("onnx_3d", (3, 4, 5), (3, 3, 3), channels=(1, 2), batch=1, bias=False),
    Case("onnx_output_padding", (3, 3), (3, 3), (3, 2), 0, 1, 1, 1, (1, 2), 1),
    Case("onnx_pads", (3, 3), (3, 3), (3, 2), (1, 2), 0, 1, 1, (1, 2), 1, bias=False),
    Case("onnx_dilations", (3, 3), (2, 2), dilation=2, channels=(1, 1), batch=1),
    Case("onnx_same_upper", (3, 3), (3, 3), 2, "SAME", channels=(1, 2), batch=1),
    Case("onnx_groups", (3, 3), (3, 3), groups=2, channels=(2, 2), batch=1),
    Case("onnx_groups_batch", (3, 3), (3, 3), groups=2, channels=(2, 2), batch=3),
]

# JAX: the conv_transpose tests of lax, their channels and kernels thinned.
JAX = [
    Case(
        f"jax_2d_k{k}_s{s}x{t}_{padding}_d{d}",
        (9, 10),
        (k, k),
        stride=(s, t),
        padding=padding,
        dilation=d,
        channels=(i, j),
        batch=b,
        bias=False,
    )
    for (s, t), padding, (b, i, j, k, d) in itertools.product(
        [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)],
        ["VALID", "SAME"],
        [(2, 2, 3, 3, 1), (3, 3, 2, 4, 1), (2, 3, 3, 5, 2)],
    )
]
JAX += [
    Case(f"jax_1d_k{k}_s{s}_{padding}_d{d}", (10,), (k,), s, padding, 0, d, bias=False)
    for k, s, padding, d in itertools.product(
        [3, 4, 5], [1, 2, 3], ["VALID", "SAME"], [1, 2]
    )
]
JAX += [
    Case(f"jax_0d_{i}_to_{j}", (), (), padding=padding, channels=(i, j), bias=False)
    for i, j, padding in [(2, 3, "VALID"), (3, 2, "SAME")]
]

# Flax: its 'VALID' layers. The circular ones are in the tests of 'CIRCULAR'.
FLAX = [
    Case("flax_1d", (8,), (3,), padding="VALID", channels=(3, 4), batch=1),
    Case("flax_many_batches", (8,), (3,), padding="VALID", channels=(3, 4), batch=10),
    Case("flax_2d_stride_2x3", (6, 5), (3, 4), (2, 3), "VALID", 0, 1, 1, (2, 3)),
    Case("flax_2d_dilated", (6, 5), (3, 4), (1, 1), "SAME", 0, (2, 3), 1, (2, 3)),
]

# Equinox: where its convention and this one meet.
EQUINOX = [
    Case("equinox_1d", (32,), (3,), channels=(1, 3), batch=1),
    Case("equinox_1d_dilated", (31,), (3,), 2, 1, 1, 2, 1, (3, 1), 1, bias=False),
    Case("equinox_2d", (3, 3), (3, 3), padding=1, channels=(1, 1), batch=1),
    Case("equinox_2d_groups", (3, 3), (3, 3), 1, 1, 0, 1, 2, (2, 2), 1),
    Case("equinox_2d_pairs", (17, 18), (1, 1), 2, ((0, 1), (0, 3)), 0, 1, 1, (8, 3), 1),
    Case("equinox_3d", (2, 2, 2), (2, 2, 2), channels=(1, 1), batch=1),
    Case("equinox_3d_dilated", (2, 7, 7), (3, 3, 3), 2, 1, 1, 2, 1, (3, 1), 1),
]

# MindSpore: the second is the one that it tries without a batch.
MINDSPORE = [
    Case("mindspore_2d", (5, 5), (3, 3), channels=(4, 8), batch=1),
    Case(
        "mindspore_2d_uneven",
        (20, 15),
        (6, 6),
        stride=(4, 3),
        padding=(2, 3),
        output_padding=(1, 0),
        dilation=(1, 2),
        groups=2,
        channels=(10, 24),
        batch=1,
    ),
]

PUBLISHED = TORCH + ONNX + JAX + FLAX + EQUINOX + MINDSPORE
