"""The same inputs give the same bits; nothing is remembered but what is bounded."""

import copy
import functools
import importlib
import pkgutil
import types
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import jax
import numpy as np
import pytest

import jconvt

LAYERS = {  # input, weight, options: of each kind of formulation, some on many threads
    "overlap": ((4, 16, 16, 16), (16, 8, 4, 4), {"stride": 2, "padding": 1}),
    "wide": ((8, 64, 16, 16), (64, 32, 4, 4), {"stride": 2, "padding": 1}),
    "blocks": ((4, 16, 8, 8), (16, 8, 2, 2), {"stride": 2}),
    "stride_1": ((2, 8, 16, 16), (8, 8, 3, 3), {"padding": 1}),
    "groups": ((2, 16, 9), (16, 4, 5), {"stride": 3, "groups": 4}),
    "dilated": ((2, 8, 9), (8, 8, 3), {"stride": 2, "dilation": 3}),
    "circular": ((2, 8, 9), (8, 8, 4), {"stride": 2, "padding": "CIRCULAR"}),
    "volume": ((2, 8, 4, 4, 4), (8, 4, 3, 3, 3), {"stride": 2, "padding": "SAME"}),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def operands(layer):
    x, w, options = LAYERS[layer]
    y = jconvt.output_shape(x, w, **options)
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in (x, w, y)]


def training(layer, **more):
    """Value and both gradients."""
    f = functools.partial(jconvt.conv_transpose, **LAYERS[layer][2], **more)

    def run(x, w, g):
        y, pull = jax.vjp(f, x, w)
        return y, *pull(g)

    return run


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


@layers
def test_run_to_run(layer):
    """One program again, and the program compiled again."""
    arrays = operands(layer)
    run = jax.jit(training(layer))
    first = bits(run(*arrays))
    assert all(bits(run(*arrays)) == first for _ in range(3))
    jax.clear_caches()
    assert bits(jax.jit(training(layer))(*arrays)) == first


@layers
def test_eager_or_compiled(layer):
    """An eager call is the same program; a gradient is a program of its own each."""
    x, w, g = operands(layer)
    f = functools.partial(jconvt.conv_transpose, **LAYERS[layer][2])
    assert bits([f(x, w)]) == bits([jax.jit(f)(x, w)])
    pull = jax.vjp(f, x, w)[1]
    compiled = jax.jit(lambda x, w, g: jax.vjp(f, x, w)[1](g))
    for one, other in zip(pull(g), compiled(x, w, g), strict=True):
        # Compiled together they may share parts, and sum them in another order.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert bits(pull(g)) == bits(jax.vjp(f, x, w)[1](g))


def test_many_threads():
    """Calls of all layers at once, traced, compiled and run beside each other."""
    jax.clear_caches()
    expected = {layer: bits(training(layer)(*operands(layer))) for layer in LAYERS}
    jax.clear_caches()

    def work(layer):
        return layer, bits(training(layer)(*operands(layer)))

    with ThreadPoolExecutor(8) as pool:
        for layer, found in pool.map(work, list(LAYERS) * 4):
            assert found == expected[layer], layer


# State --------------------------------------------------------------------------------

NEEDS_MORE = ["_demo", "__main__"]
if not find_spec("matplotlib"):
    NEEDS_MORE.append("plot")


def modules():
    """All that can be imported without more packages."""
    for found in pkgutil.walk_packages(jconvt.__path__, "jconvt."):
        if not any(part in found.name for part in NEEDS_MORE):
            yield importlib.import_module(found.name)


MUTABLE = (dict, list, set, bytearray)


def state():
    """Every module-level container, and every class's, by name."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("__") or isinstance(value, types.ModuleType):
                continue
            if isinstance(value, MUTABLE):
                found[f"{module.__name__}.{name}"] = copy.copy(value)
            if isinstance(value, type) and value.__module__ == module.__name__:
                for field, held in vars(value).items():
                    if isinstance(held, MUTABLE) and not field.startswith("__"):
                        found[f"{module.__name__}.{name}.{field}"] = copy.copy(held)
    return found


def test_no_state_is_changed_by_calls():
    before = state()
    assert (
        "jconvt._lowerings.table.LOWERINGS" in before
    )  # the inspection sees something
    for layer, (x, w, options) in LAYERS.items():
        training(layer)(*operands(layer))
        jconvt.explain(x, w, **options)
    assert state() == before


def test_no_function_rebinds_a_global():
    """No `global` statement: no code stores a name of its module."""
    import dis

    def stores(code):
        ops = {i.opname for i in dis.get_instructions(code)}
        inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
        return "STORE_GLOBAL" in ops or any(map(stores, inner))

    for module in modules():
        for value in vars(module).values():
            if isinstance(value, types.FunctionType) and (
                value.__module__ == module.__name__
            ):
                assert not stores(value.__code__), value


def caches():
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, functools._lru_cache_wrapper):
                yield f"{module.__name__}.{name}", value


def test_caches_are_bounded():
    found = dict(caches())
    assert {name.rpartition(".")[2] for name in found} >= {"_cheapest", "blocks"}
    for name, cache in found.items():
        assert cache.cache_parameters()["maxsize"] is not None, name


def test_the_choice_does_not_depend_on_what_ran_before():
    """The caches hold answers, not a history."""

    def answers():
        return {
            (layer, platform): str(jconvt.explain(x, w, platform=platform, **options))
            for layer, (x, w, options) in LAYERS.items()
            for platform in ("cpu", "cuda", "tpu")
        }

    first = answers()
    for _, cache in caches():
        cache.cache_clear()
    assert answers() == first
