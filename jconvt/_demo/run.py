"""The demo from top to bottom: train, test, time, draw."""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import flax
import jax
import numpy as np
from flax import nnx

import jconvt
from jconvt._demo.network import (
    SuperResolution,
    enlarge,
    make_optimizer,
    train_step,
    with_flax_layer,
)
from jconvt._demo.photos import (
    FACTOR,
    HELD_OUT,
    LEARN,
    ZOOMS,
    Array,
    Photo,
    as_image,
    as_input,
    load,
    luma,
    patches,
    psnr,
    recolour,
    resize,
)
from jconvt._demo.picture import Panel, draw

BATCH, PATCH = 8, 24
LEARNING_RATE, WARM_UP_STEPS = 3e-3, 30
TIMED_ROUNDS = 20
TITLE = f"A photograph the network never saw, enlarged {FACTOR} times"

Batches = Iterator[tuple[Array, Array]]


def run(output: Path, seconds: float, steps: int | None, seed: int) -> None:
    """Train for `seconds`, or for `steps` if given, and print the results."""
    batches = patches([load(n, z) for n in LEARN for z in ZOOMS], BATCH, PATCH, seed)
    photo = load(HELD_OUT)
    network = SuperResolution(rngs=nnx.Rngs(seed))

    _introduce(network)
    _train(network, batches, _fractions(seconds, steps))
    answer = _judge(network, photo)
    _compare_times(network, photo, batches)
    draw(_panels(photo, answer), TITLE, output)
    print(f"picture     {output}")


def _introduce(network: SuperResolution) -> None:
    """Print versions, device, photographs and network."""
    versions = ", ".join(f"{m.__name__} {m.__version__}" for m in (jconvt, jax, flax))
    device = jax.devices()[0].device_kind
    weights = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network)))
    print(f"versions    {versions}")
    print(f"device      {device}, {os.cpu_count()} CPU cores")
    print(f"learns from {', '.join(LEARN)}")
    print(f"held out    {HELD_OUT}")
    print(
        f"network     {weights:,} weights, enlarges {FACTOR} times; its last layer is "
        "jconvt.nnx.ConvTranspose2d"
    )


def _fractions(seconds: float, steps: int | None) -> Iterator[float]:
    """Before each step, the fraction of the training that is done, in [0, 1)."""
    if steps is not None:
        yield from (step / steps for step in range(steps))
        return
    start = time.perf_counter()
    while (done := (time.perf_counter() - start) / seconds) < 1:
        yield done


def _train(
    network: SuperResolution, batches: Batches, fractions: Iterator[float]
) -> None:
    """Train `network` in place; the learning rate follows a cosine."""
    optimizer = make_optimizer(network)
    error = average = float(train_step(network, optimizer, *next(batches), 0.0))
    step = 0
    with _progress() as progress:
        bar = progress.add_task("", total=1.0, step=0, loss=error, psnr=_decibel(error))
        for step, done in enumerate(fractions, start=1):
            warm = min(1.0, step / WARM_UP_STEPS)
            rate = LEARNING_RATE * warm * (1 + math.cos(math.pi * done)) / 2
            error = float(train_step(network, optimizer, *next(batches), rate))
            average += (error - average) * max(0.01, 1 / (step + 1))
            progress.update(
                bar, completed=done, step=step, loss=average, psnr=_decibel(average)
            )
        progress.update(bar, completed=1.0)
    print(f"trained     {step} steps of {BATCH} patches, loss {average:.5f}")


def _progress() -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("training   "),
        BarColumn(),
        TextColumn("step {task.fields[step]}"),
        TextColumn("loss {task.fields[loss]:.5f}"),
        TextColumn("PSNR {task.fields[psnr]:.2f} dB"),
        TimeRemainingColumn(),
    )


def _decibel(mean_squared_error: float) -> float:
    return -10 * math.log10(mean_squared_error)


def _judge(network: SuperResolution, photo: Photo) -> Array:
    """The network's brightness for `photo`; prints its PSNR."""
    truth = luma(photo.large)
    answer = as_image(enlarge(network, as_input(luma(photo.small))))
    before, after = psnr(luma(resize(photo.small, FACTOR)), truth), psnr(answer, truth)
    print(
        f"PSNR        bicubic {before:.2f} dB, network {after:.2f} dB "
        f"({after - before:+.2f} dB): luma, a border of {FACTOR} pixels shaved"
    )
    return answer


def _compare_times(network: SuperResolution, photo: Photo, batches: Batches) -> None:
    """Print the times with jconvt's and with Flax's last layer, with equal weights."""
    rivals = (nnx.clone(network), with_flax_layer(network))
    batch, whole = next(batches), as_input(luma(photo.small))
    ours, theirs = (np.asarray(enlarge(rival, whole)) for rival in rivals)
    print(
        "same weights, jconvt's layer and flax.nnx.ConvTranspose: answers differ by "
        f"{np.max(np.abs(ours - theirs)):.0e} at most"
    )

    def training(rival: SuperResolution) -> Callable[[], jax.Array]:
        optimizer = make_optimizer(rival)
        return lambda: train_step(rival, optimizer, *batch, 0.0)

    def enlarging(rival: SuperResolution) -> Callable[[], jax.Array]:
        return lambda: enlarge(rival, whole)

    for what, job in (("train step", training), ("photograph", enlarging)):
        mine, other = _medians([job(rival) for rival in rivals])
        print(
            f"{what:11} jconvt {mine * 1e3:.1f} ms, Flax {other * 1e3:.1f} ms: "
            f"Flax / jconvt = {other / mine:.2f}"
        )


def _medians(jobs: list[Callable[[], jax.Array]]) -> list[float]:
    """Median seconds of each job after a first run; the jobs take turns."""
    for job in jobs:
        jax.block_until_ready(job())
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(TIMED_ROUNDS):
        for job, taken in zip(jobs, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(job())
            taken.append(time.perf_counter() - start)
    return [median(taken) for taken in times]


def _panels(photo: Photo, answer: Array) -> list[Panel]:
    """The four columns of the picture."""
    truth, bicubic = luma(photo.large), resize(photo.small, FACTOR)
    height, width = photo.small.shape[:2]
    return [
        Panel(photo.small, "low resolution", f"{width} x {height} pixels"),
        Panel(bicubic, "bicubic", f"PSNR {psnr(luma(bicubic), truth):.2f} dB"),
        Panel(
            recolour(answer, bicubic),
            "network",
            f"PSNR {psnr(answer, truth):.2f} dB",
            is_ours=True,
        ),
        Panel(photo.large, "truth", f"{FACTOR * width} x {FACTOR * height} pixels"),
    ]
