"""What the fuzzer once found: name -> kind of check, and the line that failed."""

from typing import Any

REGRESSIONS: dict[str, tuple[str, Any]] = {}
