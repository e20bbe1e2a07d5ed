"""The block of README without a prompt; `test_pages` runs those with one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pages import ROOT, blocks, run_python


def test_the_port_of_a_pytorch_generator():
    """A new user's port: at most ten lines, and the generator's own images."""
    torch = pytest.importorskip("torch", reason="the model that is ported is PyTorch's")
    found = blocks(ROOT / "README.md")
    (port,) = [b for b in found if b.language == "python" and not b.has_prompt]
    generator = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(8, 6, 4, 1),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1),
        torch.nn.Tanh(),
    )
    z = torch.randn(2, 8, 1, 1)
    names = {
        "generator": generator,
        "jax": jax,
        "jnp": jnp,
        "z": jnp.asarray(z.numpy()),
    }
    run_python(port, names)
    expected = generator(z).detach().numpy()
    np.testing.assert_allclose(names["images"], expected, rtol=1e-5, atol=1e-6)
