"""The devices that can be compiled for, and the packages that each needs."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

# libtpu otherwise asks the machine's metadata server for the slice that it is part of.
_NO_TPU_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of device.

    Attributes:
      title: how it is called in tables.
      platform: how JAX calls it.
      compilers: the packages that compile for it.
      dtypes: those it computes with.
      describe: makes JAX's description of devices of this kind.
    """

    title: str
    platform: str
    compilers: tuple[str, ...]
    dtypes: tuple[str, ...]
    describe: Callable[[], topologies.TopologyDescription]

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.compilers if not _is_installed(name)]

    def place(self) -> SingleDeviceSharding:
        """Where compiled programs would run; JAX itself is kept to the CPU."""
        jax.config.update("jax_platforms", "cpu")
        return SingleDeviceSharding(self.describe().devices[0])

    def versions(self) -> dict[str, str]:
        """Compiler -> version."""
        return {package: version(package) for package in self.compilers}


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _h100() -> topologies.TopologyDescription:
    return topologies.get_topology_desc(
        platform="cuda",
        topology="1x1x1",
        target_config=Path(__file__).with_name("h100.txtpb").read_text(),
    )


def _v5e() -> topologies.TopologyDescription:
    os.environ.update(_NO_TPU_HERE)
    # The smallest slice with a name; one of its chips is compiled for.
    return topologies.get_topology_desc("v5e:2x2", platform="tpu")


TARGETS = {
    "gpu": Target(
        title="NVIDIA H100",
        platform="cuda",
        compilers=("jax-cuda12-plugin", "jax-cuda12-pjrt"),
        dtypes=("float32", "bfloat16", "float16"),
        describe=_h100,
    ),
    "tpu": Target(
        title="TPU v5e",
        platform="tpu",
        compilers=("libtpu",),
        dtypes=("float32", "bfloat16"),
        describe=_v5e,
    ),
}
