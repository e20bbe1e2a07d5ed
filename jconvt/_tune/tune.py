"""`tune`: measures the layers of a function on the device at hand."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from jconvt._call.lowerings import AUTO, Lowerings, field_of
from jconvt._call.problem import Map
from jconvt._call.tracebacks import ends_traceback
from jconvt._choice.pinned import check_lowering
from jconvt._tune.candidates import automatic, entries_for
from jconvt._tune.checks import check, check_arrays, usable
from jconvt._tune.layers import Counts, Layer, Picks, find_layers, weight_of
from jconvt._tune.measure import (
    TUNED,
    Budget,
    compile_run,
    settle,
    time_map,
    time_pair,
    time_together,
)
from jconvt._tune.progress import progress
from jconvt._tune.report import TunedMap, TuneReport
from jconvt._tune.tuned import Static, Tuned, run, take_apart, trace

FOR_LAYERS = 0.8
"""The part of the time that the layers have; the whole function has the rest."""


@ends_traceback
def tune(
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float = 60.0,
    derivatives: bool = True,
    report: TuneReport | None = None,
) -> Tuned:
    """Measures each transposed convolution in a function, and runs the fastest of each.

    The function is traced. Of each different layer in it whose lowering is automatic,
    also inside `jit`, `scan`, `while_loop`, `cond`, `checkpoint`, `vmap`, `grad`,
    `shard_map` and functions with custom derivatives, the automatic formulation and
    other ones that keep the promise about memory are timed on the default device. The
    result computes the same as the function, with the fastest formulations pinned.

    A formulation replaces the automatic one only where it is at least 3 % faster alone,
    and where all maps of its layer, and the whole function, are not slower with it. No
    global state changes: the function itself and what is compiled stay as they are.

    A gradient is measured as the function computes it. If the function computes none,
    all three maps of its layers are measured, so that `jax.grad` of the result is tuned
    too. (Rules of `jax.custom_vjp` and `jax.custom_jvp` are Python functions that run
    later, when the result is differentiated; layers in them stay automatic.)

    Args:
      function: takes and returns arrays, or pytrees of arrays, as for `jax.jit`.
      *arguments: for which to measure. With a `jax.ShapeDtypeStruct` among them the
        function is not run as a whole, and only layers are timed.
      seconds: how long to measure, about; the compilation of one program is not
        interrupted. What was not tried for lack of time is in the report.
      derivatives: whether to measure gradients too if the function computes none.
      report: of an earlier call, such as `TuneReport.load` gives. Layers in it are not
        measured again. If it is of another kind of device or version of JAX, it is
        stale: there is a warning, and all is measured anew.

    Returns:
      A `Tuned`: a function, and its `report`.

    Raises:
      TypeError: an argument of `tune` has the wrong type.
      ValueError: `seconds` is not positive, or `tune` is called while JAX traces.

    Example:
      >>> import jax.numpy as jnp, jconvt
      >>> def up(x, w):
      ...     return jconvt.conv_transpose2d(x, w, stride=2)
      >>> x, w = jnp.ones((1, 2, 4, 4)), jnp.ones((2, 3, 2, 2))
      >>> tuned = jconvt.tune(up, x, w, seconds=1)
      >>> tuned(x, w).shape
      (1, 3, 8, 8)
      >>> [row.map for row in tuned.report.maps]
      ['forward', 'input gradient', 'weight gradient']
    """
    check(function, seconds, derivatives, report)
    static, arrays = take_apart(arguments, {})
    check_arrays(arrays)
    budget, start = Budget.of(seconds), time.perf_counter()
    jaxpr, _ = trace(function, static, arrays)
    counts = find_layers(jaxpr, derivatives=derivatives)
    device = next(iter(jnp.zeros(()).devices()))
    known = usable(report, device.device_kind)
    made = _Tuning(counts, _PLATFORMS.get(device.platform, "cuda"), known)
    with progress(sum(map(len, counts.values())) + 1) as begin:
        made.measure_layers(budget.share(FOR_LAYERS), begin)
        begin("the whole function")
        made.compare_whole(function, static, arrays, budget)
    found = TuneReport(
        device_kind=device.device_kind,
        jax_version=jax.__version__,
        maps=tuple(made.row(layer, m) for layer in counts for m in counts[layer]),
        automatic_seconds=made.whole and made.whole[0],
        tuned_seconds=made.whole and made.whole[1],
        spent_seconds=time.perf_counter() - start,
        notes=tuple(made.notes),
    )
    return Tuned(function, made.picks, found)


@dataclass(slots=True)
class _Tuning:
    """What is measured, step by step.

    Attributes:
      counts: the layers, and how often each map of them runs.
      platform: for the choice.
      known: an earlier report that is not stale, or None.
      rows: what was measured or known of each map.
      picks: the entries that replace automatic ones.
      whole: seconds of the whole function, automatic and tuned.
      notes: for the report.
      new: whether anything was measured.
    """

    counts: Counts
    platform: str
    known: TuneReport | None
    rows: dict[tuple[Layer, Map], TunedMap] = field(default_factory=dict)
    picks: Picks = field(default_factory=dict)
    whole: tuple[float, float] | None = None
    notes: list[str] = field(default_factory=list)
    new: bool = False

    def measure_layers(self, budget: Budget, begin: Callable[[str], None]) -> None:
        """Measures layer after layer, the largest first; each has its share of time."""
        weights = {layer: weight_of(layer, maps) for layer, maps in self.counts.items()}
        left = sum(weights.values())
        picks: dict[Layer, Mapping[Map, str]] = {}
        for layer in sorted(weights, key=lambda layer: -weights[layer]):
            share = budget.share(weights[layer] / left if left else 1.0)
            picks[layer] = self._measure_layer(layer, share, begin)
            left -= weights[layer]
        self.picks = {layer: entries for layer, entries in picks.items() if entries}

    def _measure_layer(
        self, layer: Layer, budget: Budget, begin: Callable[[str], None]
    ) -> Mapping[Map, str]:
        maps = self.counts[layer]
        known = {which: self._row_known(layer, which) for which in maps}
        others = {
            which: entries_for(which, self.platform, layer.problem)
            for which in maps
            if known[which] is None
        }
        # The maps that have candidates share the time; one part more is for all maps
        # together.
        parts = 1 + sum(map(bool, others.values()))
        for which in maps:
            begin(f"{layer}: {which}")
            row = known[which]
            if row is None:
                part = budget.share(1 / parts)
                row = self._row_measured(layer, which, others[which], part)
                parts -= bool(others[which])
            self.rows[layer, which] = row
        entries = {
            m: self.rows[layer, m].runs for m in maps if self._runs(layer, m) != AUTO
        }
        self.new |= bool(others)
        if not others or not entries or len(maps) == 1:
            return entries

        def compare(picks: Picks) -> tuple[float, float]:
            return time_together(layer, maps, picks[layer], budget)

        kept, _ = settle({layer: entries}, compare)
        kept_entries = kept.get(layer, {})
        if kept_entries != entries:
            self.notes.append(f"{layer}: its maps together are faster automatically")
        return kept_entries

    def compare_whole(
        self,
        function: Callable[..., Any],
        static: Static,
        arrays: tuple[Any, ...],
        budget: Budget,
    ) -> None:
        """Leaves out what slows the whole function down.

        What only derivatives of the function run is not in it, and is kept.
        """
        inside, later = self._of_function(inside=True), self._of_function(inside=False)
        if not self.new:
            self._keep_known_times()
            return
        if not inside:
            if later:
                self.notes.append("picks are of gradients, which it does not compute")
            return
        if any(isinstance(a, jax.ShapeDtypeStruct) for a in arrays):
            self.notes.append("the whole function was not timed: shapes without arrays")
            return
        if not budget.left:
            self.notes.append("the whole function was not timed: no time was left")
            return

        def compare(picks: Picks) -> tuple[float, float]:
            runs = {
                name: compile_run(lambda *a, p=p: run(function, p, static, a), *arrays)[
                    0
                ]
                for name, p in ((AUTO, {}), (TUNED, picks))
            }
            return time_pair(runs, budget)

        kept, self.whole = settle(inside, compare)
        if kept != inside:
            self.notes.append("picks that slow the whole function down were left out")
        self.picks = {
            layer: {**later.get(layer, {}), **kept.get(layer, {})}
            for layer in self.picks
        }

    def row(self, layer: Layer, which: Map) -> TunedMap:
        """What the report says about a map."""
        runs = self.picks.get(layer, {}).get(which, AUTO)
        return replace(self.rows[layer, which], runs=runs)

    def _runs(self, layer: Layer, which: Map) -> str:
        return self.rows[layer, which].runs

    def _row_known(self, layer: Layer, which: Map) -> TunedMap | None:
        """What an earlier report says about a map, if its pick can still run."""
        for row in self.known.maps if self.known else ():
            if (row.layer, row.map) == (str(layer), str(which)) and _serves(layer, row):
                return replace(row, count=self.counts[layer][which])
        return None

    def _row_measured(
        self, layer: Layer, which: Map, others: Sequence[str], budget: Budget
    ) -> TunedMap:
        times = time_map(layer, which, others, self.platform, budget)
        self.notes += (f"{layer}, {which}: {note}" for note in times.notes)
        auto = automatic(which, self.platform, layer.problem)
        fastest = min(times.seconds, key=lambda e: times.seconds[e], default=AUTO)
        return TunedMap(
            layer=str(layer),
            map=str(which),
            count=self.counts[layer][which],
            automatic=auto,
            fastest=auto if fastest == AUTO else fastest,
            automatic_seconds=times.seconds.get(AUTO),
            fastest_seconds=times.seconds.get(fastest),
            runs=times.pick,
            tried=times.tried,
            candidates=times.candidates,
        )

    def _of_function(self, *, inside: bool) -> Picks:
        """The picks of maps that the function itself runs, or of the others."""
        parts = {
            layer: {
                m: e
                for m, e in entries.items()
                if bool(self.counts[layer][m]) == inside
            }
            for layer, entries in self.picks.items()
        }
        return {layer: entries for layer, entries in parts.items() if entries}

    def _keep_known_times(self) -> None:
        """Takes the times of the whole from a report of the same layers."""
        known = self.known
        if known is None or known.automatic_seconds is None:
            return
        if {(r.layer, r.map) for r in known.maps} == {
            (r.layer, r.map) for r in self.rows.values()
        } and known.tuned_seconds is not None:
            self.whole = known.automatic_seconds, known.tuned_seconds


_PLATFORMS = {"cpu": "cpu", "tpu": "tpu"}
"""What JAX calls the platform of a device -> whose tables the choice reads."""


def _serves(layer: Layer, row: TunedMap) -> bool:
    """Whether an entry of an earlier report exists and can serve."""
    entry = Lowerings(**{field_of(Map(row.map)): row.runs})
    try:
        check_lowering("tune", entry, layer.call.geometry, static=True)
    except ValueError:
        return False
    return True
