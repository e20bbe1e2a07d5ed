"""A short run of the fuzzer, what it once found, and that it would find it again."""

import dataclasses
from collections import Counter

import jax
import pytest

import jconvt
import jconvt.streaming
from fuzz import arguments, nonfinite, shapes
from fuzz.arguments import BadCall
from fuzz.check import Wrong, check
from fuzz.config import Config, Cut
from fuzz.kinds import KINDS
from fuzz.nonfinite import Poisoned
from fuzz.regressions import REGRESSIONS
from fuzz.run import run_part


@pytest.fixture(autouse=True)
def _wide_types():
    with jax.enable_x64(True):
        yield


SHORT = {  # lists of configs
    "programs": 3,
    "default options": 1,
    "pieces": 1,
    "sharded": 2,
    "streaming": 2,
    "non-finite": 2,
    "non-finite in pieces": 1,
    "PyTorch": 5,
    "arguments": 40,
    "shapes": 10,
}


def test_every_kind_is_run():
    assert SHORT.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", SHORT)
def test_short_run(kind, monkeypatch):
    row = KINDS[kind]._replace(examples=SHORT[kind])
    monkeypatch.setitem(KINDS, kind, row)
    seen = set()
    run_part(kind, 20, seen, Counter())
    assert seen


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression(name):
    kind, line = REGRESSIONS[name]
    KINDS[kind].run([line])


# Canaries -----------------------------------------------------------------------------

PLAIN = Config(
    space=(4,), kernel=(3,), stride=(2,), dilation=(1,), padding=((1, 0),),
    output_padding=(0,), way="vjp",
)  # fmt: skip


def test_a_config_that_is_right():
    check([PLAIN])


def test_the_line_is_the_config():
    assert eval(PLAIN.line(), {"Config": Config})[0] == PLAIN


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "complex64"])
def test_a_value_that_is_off_is_seen(dtype, monkeypatch):
    true = jconvt.conv_transpose
    monkeypatch.setattr(
        jconvt, "conv_transpose", lambda *a, **k: true(*a, **k) * (1 + 2**-6)
    )
    with pytest.raises(Wrong, match="elements are off"):
        check([dataclasses.replace(PLAIN, dtype=dtype, way="output")])


def test_a_place_that_is_off_is_seen(monkeypatch):
    monkeypatch.setattr(Config, "low", property(lambda self: (0,)))
    with pytest.raises(Wrong, match="elements are off"):
        check([PLAIN])


def test_a_shape_and_a_dtype_that_are_off_are_seen(monkeypatch):
    true = jconvt.conv_transpose
    with monkeypatch.context() as patch:
        patch.setattr(jconvt, "conv_transpose", lambda *a, **k: true(*a, **k)[..., :-1])
        with pytest.raises(Wrong, match="shape"):
            check([dataclasses.replace(PLAIN, way="output")])
    with monkeypatch.context() as patch:
        patch.setattr(
            jconvt, "conv_transpose", lambda *a, **k: true(*a, **k).astype("float64")
        )
        with pytest.raises(Wrong, match="dtype"):
            check([dataclasses.replace(PLAIN, way="output")])


STREAM = dataclasses.replace(
    PLAIN, door="streaming", cut=Cut(axis=0, lengths=(1, 4, 1, 1), before=1, after=2)
)


@pytest.mark.parametrize("forgotten", ["sums", "heard", "missing"])
def test_a_state_that_is_forgotten_is_seen(forgotten, monkeypatch):
    """Partial sums, where the signal begins, or where it ends."""
    check([STREAM])
    true = jconvt.streaming.masked_step

    def forgets(state, *arrays, **options):
        field = {forgotten: jax.numpy.zeros_like(getattr(state, forgotten))}
        return true(state._replace(**field), *arrays, **options)

    monkeypatch.setattr(jconvt.streaming, "masked_step", forgets)
    with pytest.raises(Wrong, match="elements are off"):
        check([dataclasses.replace(STREAM, way="output")])


def test_a_nan_that_goes_too_far_is_seen(monkeypatch):
    """The same map by a kernel with one zero tap more."""
    one = Poisoned(
        dataclasses.replace(PLAIN, way="output", bias=False), "x", float("nan"), 0
    )
    nonfinite.check([one])
    true = jconvt.conv_transpose

    def padded(x, w, b, **options):
        w = jax.numpy.pad(w, [(0, 0), (0, 0), (0, 1)])
        return true(x, w, b, **options | {"padding": ((1, 1),)})

    monkeypatch.setattr(jconvt, "conv_transpose", padded)
    with pytest.raises(Wrong, match="too many"):
        nonfinite.check([one])


def test_a_call_without_an_error_is_seen():
    with pytest.raises(Wrong, match="no error"):
        arguments.check([BadCall("conv_transpose", 1, "stride", 1)])


def test_an_error_that_names_nothing_is_seen(monkeypatch):
    def call(one):
        raise ValueError("conv_transpose: this is wrong.")

    monkeypatch.setattr(arguments, "_call", call)
    with pytest.raises(Wrong, match="other things"):
        arguments.check([BadCall("conv_transpose", 1, "stride", 0)])


def test_a_false_shape_is_seen(monkeypatch):
    monkeypatch.setattr(jconvt, "output_shape", lambda *a, **k: (1, 1, 1))
    one = shapes.Sizes(1, (1, 1), (4,), (3,), (2,), (1,), ((0, 0),), "cpu")
    with pytest.raises(Wrong, match="shape"):
        shapes.check([one])
