"""What doctest collection leaves out; fixtures are in `tests/conftest.py`."""

from importlib.util import find_spec

_DEMO_NEEDS = ("matplotlib", "optax", "rich", "skimage")

collect_ignore_glob = (
    [] if all(find_spec(name) for name in _DEMO_NEEDS) else ["jconvt/_demo/*"]
)
