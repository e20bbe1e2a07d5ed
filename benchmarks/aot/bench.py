"""Compiles every chosen program and reads it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from jax.sharding import Sharding

from benchmarks.aot.compiling import Compiler
from benchmarks.aot.forms import FORMS, Form
from benchmarks.aot.kept import Kept
from benchmarks.aot.maps import MAPS
from benchmarks.aot.options import Options
from benchmarks.aot.reading import Reading
from benchmarks.aot.targets import TARGETS, Target
from benchmarks.layers import Layer, zoo
from benchmarks.progress import say, track

Readings = dict[str, dict[str, dict[str, Reading]]]
"""Map -> row -> form -> reading, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What was read for one target, dtype and layout.

    Attributes:
      target: the device.
      dtype: of all arrays.
      layout: of the images.
      layers: the rows.
      readings: of each program.
      choices: row -> map -> the lowering that jconvt chooses.
      failures: program -> why it could not be compiled.
    """

    target: Target
    dtype: str
    layout: str
    layers: dict[str, Layer]
    readings: Readings = field(default_factory=dict)
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def forms(self) -> list[str]:
        """Those that have a reading."""
        found = {f for rows in self.readings.values() for c in rows.values() for f in c}
        return [form for form in FORMS if form in found]


def batches(options: Options, place: Sharding) -> Iterator[Batch]:
    """One for each dtype and layout."""
    target = TARGETS[options.target]
    layers = {layer.name: layer for layer in zoo() if layer.name in options.rows}
    compiler = Compiler(Kept(options.kept, target.versions()), options.only_kept)
    for dtype in options.dtypes:
        for layout in options.layouts:
            batch = Batch(target=target, dtype=dtype, layout=layout, layers=layers)
            title = f"{target.title}, {dtype}, channels {layout}"
            for _, layer in track(title, layers):
                _read_row(batch, layer, options, place, compiler)
            yield batch


def _read_row(
    batch: Batch,
    layer: Layer,
    options: Options,
    place: Sharding,
    compiler: Compiler,
) -> None:
    form = Form(
        layer=layer,
        layout=batch.layout,
        dtype=batch.dtype,
        platform=batch.target.platform,
    )
    batch.choices[layer.name] = form.choices()
    arguments = form.arguments(place)
    serving = form.serving()
    names = [name for name in options.forms if name in serving]
    for map_name in options.maps:
        cells = batch.readings.setdefault(map_name, {}).setdefault(layer.name, {})
        for name in names:
            task = MAPS[map_name](form.forward(name))
            try:
                found = compiler(task, arguments)
            except Exception as error:  # one program must not cost all the others
                program = f"{layer.name}, {map_name}, {name}"
                batch.failures[program] = str(error).strip().split("\n")[0]
                say(f"failed: {program}: {batch.failures[program]}")
            else:
                if found is not None:
                    cells[name] = found
