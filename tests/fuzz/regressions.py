"""What the fuzzer once found: name -> kind of check, and the line that failed."""

from typing import Any

from fuzz.arguments import BadCall

REGRESSIONS: dict[str, tuple[str, Any]] = {
    "a negative output_size was taken where there are no spatial axes": (
        "arguments",
        BadCall("conv_transpose", 0, "output_size", -1),
    ),
}
