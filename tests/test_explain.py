"""What `explain` says of calls that are not the common ones."""

import jax
import jax.export
import pytest

import jconvt
from jconvt._lowerings.table import LOWERINGS


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


@pytest.mark.parametrize(
    ("platform", "groups", "reason"),
    [
        ("cpu", 1, "least estimated time, both gradients together"),
        ("cpu", 3, "least estimated time, both gradients together"),
        ("cuda", 1, "one group and no dilation: the form that XLA maps to "),
        ("rocm", 3, "groups or dilation: a form that inserts no zeros into the input"),
        ("tpu", 1, "fewest cycles by the compiler's estimates for layers of this kind"),
        ("tpu", 3, "fewest cycles by the compiler's estimates for layers of this kind"),
    ],
)
def test_reasons(platform, groups, reason):
    options = {"platform": platform, "groups": groups}
    found = jconvt.explain((1, 3, 5), (3, 4, 2), **options).reason
    assert found.startswith(reason)


def test_where_sizes_are_symbolic_nothing_is_estimated():
    (n,) = jax.export.symbolic_shape("n")
    for platform, reason in (
        ("cpu", "symbolic sizes: a lowering that merges no symbolic axes into one"),
        ("tpu", "fewest cycles by the compiler's estimates for layers of this kind"),
    ):
        found = jconvt.explain((1, 3, n), (3, 4, 2), platform=platform)
        assert found.reason == reason
        assert found.useful_multiply_adds is None


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
        ("gup", ValueError, r"rocm, tpu; got 'gup'\. Did you mean 'gpu'\?$"),
        ("crocm", ValueError, r"rocm, tpu; got 'crocm'\. Did you mean 'rocm'\?$"),
    ],
)
def test_errors_of_the_platform(platform, error, message):
    with pytest.raises(error, match=message):
        jconvt.explain((1, 3, 5), (3, 4, 2), platform=platform)


def test_gpu_is_cuda():
    found = jconvt.explain((1, 3, 5), (3, 4, 2), platform="gpu")
    assert found == jconvt.explain((1, 3, 5), (3, 4, 2), platform="cuda")
