"""What `explain` says of calls that are not the common ones."""

import pytest

import jconvt
from jconvt._lowerings import LOWERINGS


def test_with_nothing_to_compute():
    found = jconvt.explain((0, 3, 5), (3, 4, 2), stride=2, platform="cpu")
    assert found.reason == "nothing to compute"
    assert found.output_shape == (0, 4, 10)
    assert found.useful_multiply_adds == 0
    assert not any(candidate.estimates for candidate in found.candidates)
    assert "nothing to compute" in str(found)


def test_a_pinned_lowering_is_the_reason():
    for platform in ("cpu", "tpu"):
        found = jconvt.explain(
            (1, 3, 5), (3, 4, 2), lowering="phases", platform=platform
        )
        chosen = {found.forward, found.input_gradient, found.weight_gradient}
        assert chosen == {"phases"}, platform
        assert found.reason == "lowering='phases'"


def test_every_lowering_is_a_candidate():
    found = jconvt.explain((1, 3, 5), (3, 4, 2), platform="cuda")
    assert [c.lowering for c in found.candidates] == list(LOWERINGS)
    for candidate in found.candidates:
        assert bool(candidate.refusal) != bool(candidate.estimates)


@pytest.mark.parametrize(
    ("platform", "error", "message"),
    [
        (3, TypeError, "explain: `platform` must be a string; got 3."),
        ("abacus", ValueError, "explain: `platform` must be one of cpu, cuda, rocm, "),
    ],
)
def test_errors_of_the_platform(platform, error, message):
    with pytest.raises(error, match=message):
        jconvt.explain((1, 3, 5), (3, 4, 2), platform=platform)


def test_gpu_is_cuda():
    found = jconvt.explain((1, 3, 5), (3, 4, 2), platform="gpu")
    assert found == jconvt.explain((1, 3, 5), (3, 4, 2), platform="cuda")
