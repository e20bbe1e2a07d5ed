"""`python -m jconvt doctor`: it tells what is there, and sees what is wrong."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import stop_gradient

import jconvt
import oracles
from jconvt.__main__ import main
from jconvt._shell import checks, doctor
from jconvt._shell.definition import three_maps
from shells import at_a_shell

LAYERS = checks.LAYERS


def doctored(capsys, *words):
    status = main(["doctor", *words])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out


def test_a_healthy_installation(capsys):
    status, text = doctored(capsys, "--json")
    found = json.loads(text)
    assert status == 0, found["checks"]
    assert found["healthy"]
    assert set(found["checks"].values()) == {"ok"}
    assert found["versions"]["jconvt"] == jconvt.__version__
    assert found["versions"]["jax"]
    assert found["machine"]["devices"].endswith("x cpu (cpu)")
    assert set(found["optional"]) == set(doctor.OPTIONAL)


def test_what_it_prints(capsys, monkeypatch):
    monkeypatch.setattr(checks, "checks", lambda: {"a sum": sum_is_right})
    monkeypatch.setenv("XLA_FLAGS_OF_A_TEST", "--fast")
    status, text = doctored(capsys)
    assert status == 0
    for line in ("XLA_FLAGS_OF_A_TEST", "optional ", "a sum  ok", "all is well"):
        assert f"\n{line}" in text


def test_a_package_that_is_not_there_has_no_version(capsys, monkeypatch):
    monkeypatch.setattr(checks, "checks", dict)
    monkeypatch.setattr(
        doctor, "OPTIONAL", {"pytest": "tests", "no-such-package": "none"}
    )
    _, text = doctored(capsys, "--json")
    found = json.loads(text)["optional"]
    assert found == {"pytest": pytest.__version__, "no-such-package": None}


def sum_is_right():
    assert 1 + 1 == 2


def test_a_failed_check_is_told_and_is_status_1(capsys, monkeypatch):
    def broken():
        raise ImportError("no\nsuch module")

    found = {"a sum": sum_is_right, "an import": broken}
    monkeypatch.setattr(checks, "checks", lambda: found)
    status, text = doctored(capsys)
    assert status == 1
    assert "\nan import  ImportError: no such module\n" in text
    assert text.endswith("\nsomething is wrong: see the outcomes above\n")


right = jconvt.conv_transpose


def wrong_values(x, w, **options):
    return right(x, w, **options).at[(0,) * x.ndim].add(1)


def wrong_input_gradient(x, w, **options):
    return right(2 * x - stop_gradient(x), w, **options)


def wrong_weight_gradient(x, w, **options):
    return right(x, 2 * w - stop_gradient(w), **options)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (wrong_values, "output: 1 of 432 elements are wrong, first at (0, 0, 0): "),
        (wrong_input_gradient, "input gradient: "),
        (wrong_weight_gradient, "weight gradient: "),
    ],
)
def test_the_check_sees_what_is_wrong(monkeypatch, broken, message):
    layer = LAYERS["1-d, kernel 16, stride 8"]
    monkeypatch.setattr(jconvt, "conv_transpose", broken)
    with pytest.raises(ArithmeticError) as caught:
        checks.check_layer(layer, "float32", channels_last=False)
    assert str(caught.value).startswith(message)


def test_a_wrong_shape_is_told():
    with pytest.raises(ArithmeticError, match=r"shape \(1,\) in place of \(2,\)"):
        checks._check_shape((1,), (2,))
    ones = np.ones((2, 3))
    assert checks._difference(ones, ones[1:]) == "shape (2, 3) in place of (1, 3)"


def test_a_device_that_is_not_there():
    run = at_a_shell("doctor", "--json", JAX_PLATFORMS="nowhere")
    found = json.loads(run.stdout)
    assert run.returncode == 1
    assert found["machine"]["devices"] == ""
    assert "nowhere" in found["machine"]["no device"]
    assert found["checks"] == {"self-check": "no device"}


@pytest.mark.parametrize("name", LAYERS)
def test_the_definition(name):
    """Against the oracles of these tests, which were written apart from it."""
    layer = LAYERS[name]
    random = np.random.default_rng(1)
    x, w, g = (random.normal(size=s) for s in (layer.input, layer.weight, layer.output))
    options = {"stride": layer.stride, "dilation": layer.dilation}
    found = three_maps(x, w, g, crop=layer.padding, groups=layer.groups, **options)
    crop = [
        (p, p - a) for p, a in zip(layer.padding, layer.output_padding, strict=True)
    ]
    options |= {"crop": crop, "groups": layer.groups}
    expected = (
        oracles.scatter(x, w, **options),
        oracles.gradient_of_input(g, w, space=x.shape[2:], **options),
        oracles.gradient_of_weight(g, x, kernel=w.shape[2:], **options),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_numbers_are_exact_in_bfloat16():
    """All partial sums are: no sum of absolute values exceeds 256."""
    for layer in LAYERS.values():
        arrays = checks._numbers(layer)
        maps = three_maps(
            *map(np.abs, arrays),
            stride=layer.stride,
            crop=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
        )
        assert max(a.max() for a in maps) <= 256
        for array in arrays:
            assert np.array_equal(np.asarray(jnp.bfloat16(array), float), array)
