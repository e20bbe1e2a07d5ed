"""Two processes with two devices each train what one process with one device does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import distributed_worker

WORKER = Path(distributed_worker.__file__)
SECONDS = 90


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(rank, processes, devices, port, path):
    flags = f"--xla_force_host_platform_device_count={devices}"
    where = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": where}
    arguments = map(str, (rank, processes, port, path))
    return subprocess.Popen(
        [sys.executable, str(WORKER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder, processes, devices):
    """The results of each process."""
    port = free_port()
    paths = [folder / f"{processes}-{rank}.npz" for rank in range(processes)]
    started = [
        start(rank, processes, devices, port, path) for rank, path in enumerate(paths)
    ]
    try:
        outputs = [process.communicate(timeout=SECONDS)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output
    return [dict(np.load(path)) for path in paths]


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """In float64, where the order of the sums is all that differs."""
    (alone,) = run(tmp_path, processes=1, devices=1)
    together = run(tmp_path, processes=2, devices=2)
    assert (alone.pop("processes"), alone.pop("devices")) == (1, 1)
    before = distributed_worker.initial()
    for found in together:
        assert (found.pop("processes"), found.pop("devices")) == (2, 4)
        for name, weight in alone.items():
            np.testing.assert_allclose(found[name], weight, rtol=1e-11, atol=1e-13)
            assert np.abs(weight - before[name]).max() > 1e-3, "trained nothing"
