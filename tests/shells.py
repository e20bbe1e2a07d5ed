"""`python -m jconvt` in a process of its own, as at a shell."""

import os
import subprocess
import sys


def at_a_shell(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "jconvt", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
