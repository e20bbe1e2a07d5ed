"""``python -m fuzz --seconds 60``: fuzz for a while, in `tests/`.

The seed is printed; ``--seed`` runs it again. A failure prints the smallest case found,
as a line for `regressions.py`, and its seed. ``--record`` adds the counts to the table
in `results/`.
"""

import argparse
import os
import random
import sys
from pathlib import Path


def main() -> int:
    """The number of failures, at most 1 of a kind."""
    # Before JAX is imported.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    import jax

    jax.config.update("jax_enable_x64", True)
    # Nobody reads where an operation of these programs was written.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    from fuzz.kinds import KINDS
    from fuzz.record import record
    from fuzz.run import fuzz

    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--record", type=Path, help="a JSON file that counts are added to"
    )
    given = parser.parse_args()
    print(f"seed {given.seed}, for {given.seconds:g} seconds", flush=True)
    result = fuzz(given.seed, given.seconds, given.kinds)
    for kind, n in result.counts.items():
        spent = result.spent[kind]
        print(f"{n:7} in {spent:4.0f} s, {kind}: {KINDS[kind].what}")
    for kind, seed, message in result.failures:
        print(f"\nFAILED {kind}, seed {seed}: {message}")
    if given.record:
        record(given.record, result)
    return len(result.failures)


if __name__ == "__main__":
    sys.exit(main())
