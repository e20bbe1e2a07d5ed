"""What the fuzzer once found: name -> kind of check, and the line that failed."""

from typing import Any

import numpy as np

from fuzz.arguments import BadCall
from fuzz.config import Config
from fuzz.shapes import Sizes
from fuzz.sharded import Placed

REGRESSIONS: dict[str, tuple[str, Any]] = {
    "a negative output_size was taken where there are no spatial axes": (
        "arguments",
        BadCall("conv_transpose", 0, "output_size", -1),
    ),
    "an array was compared with the name of a lowering": (
        "arguments",
        BadCall("conv_transpose1d", 1, "lowering", np.array([1, 1])),
    ),
    "NumPy read a dtype as code": (
        "arguments",
        BadCall("conv_transpose1d", 1, "preferred_element_type", ","),
    ),
    "tap_sums widened 32-bit integers": (
        "programs",
        Config(
            space=(1, 1),
            kernel=(1, 1),
            stride=(1, 2),
            dilation=(1, 1),
            padding=((0, 0), (0, 0)),
            output_padding=(0, 0),
            channels=(1, 1),
            bias=False,
            dtype="int32",
            lowering="tap_sums",
        ),
    ),
    "the gradient of a real weight of a complex layer is real": (
        "programs",
        Config(
            space=(),
            kernel=(),
            stride=(),
            dilation=(),
            padding=(),
            output_padding=(),
            channels=(1, 1),
            batch=1,
            bias=False,
            dtype="complex64",
            weight_dtype="float32",
            way="vjp",
        ),
    ),
    "explain divided by zero where a crop drops more than an empty input has": (
        "shapes",
        Sizes(
            batch=1,
            channels=(1, 1),
            space=(0,),
            kernel=(1,),
            stride=(1,),
            dilation=(1,),
            padding=((1, -5),),
            platform="cpu",
        ),
    ),
    "pinned lhs_dilation gave zeros between two layouts, sharded along space": (
        "sharded",
        Placed(
            Config(
                space=(6,),
                kernel=(2,),
                stride=(6,),
                dilation=(3,),
                padding=((0, 0),),
                output_padding=(0,),
                channels=(3, 17),
                numbers=("XNC", "XIO", "CNX"),
                lowering="lhs_dilation",
                way="vjp",
            ),
            "explicit",
            "space",
        ),
    ),
    "a kernel that reached beyond the next device's share was counted in part": (
        "sharded",
        Placed(
            Config(
                space=(2,),
                kernel=(7,),
                stride=(2,),
                dilation=(1,),
                padding=((0, 0),),
                output_padding=(0,),
                channels=(1, 1),
                batch=1,
                bias=False,
                way="vjp",
            ),
            "auto",
            "space",
        ),
    ),
    "the input gradient of a pinned `phases` is rounded twice": (
        "programs",
        Config(
            space=(1, 3),
            kernel=(1, 3),
            stride=(4, 3),
            dilation=(1, 4),
            padding="SAME_LOWER",
            output_padding=(0, 0),
            channels=(1, 1),
            bias=False,
            dtype="bfloat16",
            lowering="phases",
            way="vjp of scan",
            seed=11869,
        ),
    ),
    "shares of a periodic input's gradient were rounded before they were added": (
        "programs",
        Config(
            space=(5,),
            kernel=(7,),
            stride=(5,),
            dilation=(1,),
            padding="CIRCULAR",
            output_padding=(0,),
            channels=(3, 2),
            batch=3,
            bias=False,
            dtype="bfloat16",
            numbers=("XCN", "XIO", "XCN"),
            way="reverse over forward",
            seed=1240,
        ),
    ),
    "XLA ended the process, for it took an axis of an output for groups": (
        "programs",
        Config(
            space=(3, 2),
            kernel=(2, 5),
            stride=(2, 1),
            dilation=(1, 1),
            padding=((1, 1), (0, 0)),
            output_padding=(0, 0),
        ),
    ),
}
