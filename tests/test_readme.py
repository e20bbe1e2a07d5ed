"""The blocks of README without a prompt; those with one run as doctests."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks():
    text = README.read_text()
    found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for code in found if not code.startswith(">>> ")]


def test_the_port_of_a_pytorch_generator():
    """A new user's port: at most ten lines, and the generator's own images."""
    torch = pytest.importorskip("torch", reason="the model that is ported is PyTorch's")
    (code,) = blocks()
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
    exec(code, names)
    expected = generator(z).detach().numpy()
    np.testing.assert_allclose(names["images"], expected, rtol=1e-5, atol=1e-6)
