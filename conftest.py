"""Keras's backend, and what doctest collection leaves out.

Fixtures are in `tests/conftest.py`.
"""

import os
from importlib.util import find_spec

os.environ.setdefault("KERAS_BACKEND", "jax")  # which it reads when it is imported

# Files whose examples need more than the library does -> the packages they need.
_NEEDS = {
    "jconvt/_demo/*": ("matplotlib", "optax", "rich", "skimage"),
    "jconvt/interop/_equinox.py": ("equinox",),
    "jconvt/interop/_keras.py": ("keras",),
    "jconvt/interop/_onnx.py": ("onnx",),
    "jconvt/interop/_onnx_model.py": ("onnx",),
    "jconvt/interop/_to_onnx.py": ("onnx",),
    "jconvt/interop/_to_torch.py": ("torch",),
    "jconvt/interop/_torch.py": ("torch",),
    "jconvt/interop/_torch_model.py": ("torch",),
    "jconvt/plot/*": ("matplotlib",),
}

collect_ignore_glob = [
    files for files, needs in _NEEDS.items() if not all(map(find_spec, needs))
]
