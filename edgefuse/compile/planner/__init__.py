"""The planner: which graphs are worth trying on the device, in which order, and what the search says of them.

It makes graphs (workstation: imports onnx); :mod:`edgefuse.search` builds, measures and judges them. The first round
is one precision for the whole model, in every way that INT8 can be done. Where a faster plan loses too much, the
second round leaves the operations that lose most in float; where INT8 is not faster in a part, that part stays float.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgefuse.backends import Settings
from edgefuse.candidates import Builder
from edgefuse.check import Judge
from edgefuse.compile.graphs import Graph, Graphs
from edgefuse.compile.parts import Parts, cut_graph
from edgefuse.compile.planner.sensitivity import Loss, Probe, Unit, block_units, part_units
from edgefuse.compile.planner.variants import allowed_noises, distinct, keep_float
from edgefuse.errors import left_out
from edgefuse.golden import read_golden
from edgefuse.part_times import PartSet, PartTime
from edgefuse.plan import Choice
from edgefuse.precision import FLOAT, PRECISIONS, base_of
from edgefuse.progress import Steps
from edgefuse.quantize import Treatment
from edgefuse.report import Planned
from edgefuse.report.branches import boundary_rows
from edgefuse.search import TIE, Search
from edgefuse.split_plan import SplitPlan, plan_split

SAMPLES = 16
"""For the sensitivity: it ranks operations, it does not judge them."""


@dataclass
class Planner:
    """One compilation's plan in the making: ``made`` are its graphs so far, ``times`` what each part takes in the
    device's backend, ``own_times`` in the chosen one."""

    graphs: Graphs
    search: Search
    parts: Parts
    precisions: list[str]
    steps: Steps
    made: dict[str, Graph]
    losses: list[Loss] = field(default_factory=list)
    times: list[PartTime] = field(default_factory=list)
    own_times: list[PartTime] = field(default_factory=list)
    sets: dict[tuple[str, str], PartSet] = field(default_factory=dict)

    @property
    def builder(self) -> Builder:
        return self.search.builder

    def plan(self) -> Choice:
        """Both rounds, as far as the time goes, and the choice."""
        self.try_graphs(self.made)
        if any(base_of(name) != FLOAT for name in self.made):
            self.add(first_round(self.graphs))
            with self.steps.step("Measuring sensitivity") as step:
                self.measure_losses()
                second = {} if self.search.out_of_time else self.mixed()
                step.note(", ".join(f"{loss.unit.name} {loss.sqnr_db:.1f} dB" for loss in self.losses[:6]))
            self.add(second)
        if not self.search.out_of_time:
            self.measure_parts()
            self.add(self.only_where_faster())
        self.search.try_threads()
        with self.steps.step("Choosing the plan") as step:
            choice = self.search.choose()
            step.note(choice.reason)
        return choice

    def add(self, treatments: Mapping[str, Treatment]) -> None:
        """Make, build, measure and judge the INT8 graphs of *treatments*, by name."""
        if not treatments or self.search.out_of_time:
            return
        self.graphs.treatments |= treatments
        made, failed = self.graphs.make(treatments, set(), self.steps)
        self.made |= made
        self.search.failed |= failed
        self.try_graphs(made)

    def try_graphs(self, made: Mapping[str, Graph]) -> None:
        paths = {name: graph.path for name, graph in made.items()}
        built, failed = self.builder.build(paths, self.precisions, set(), self.steps)
        self.search.add(built, failed)

    def measure_losses(self) -> None:
        """What each part loses alone, for the report and for the second round."""
        self.losses = part_losses(self.graphs, self.parts, self.search.samples, self.search.judge)

    def mixed(self) -> dict[str, Treatment]:
        """The second round: variants of the fastest INT8 graph that is beyond the limit."""
        failing = self._fastest_beyond_limit()
        if failing is None:
            return {}
        treatments, losses = mixed_treatments(
            self.graphs,
            self.parts,
            self.search.samples,
            self.search.judge,
            failing["graph"],
            self._float_noise(failing["precision"]),
        )
        self.losses += losses
        return treatments

    def measure_parts(self) -> None:
        """Each part of the float graph and of the fastest INT8 graph, in every inference precision and number of
        threads: which branch is worth INT8, and what a step costs when only one sensor has delivered."""
        if len(self.parts.partition.parts) < 2 or self.graphs.device.backend == "tensorrt":
            return
        with self.steps.step("Measuring the parts") as step:
            for name in dict.fromkeys([FLOAT, *self._fastest_int8()]):
                self.cut(name, self.graphs.device.backend)
            self.times = self.builder.place.measure_parts(list(self.sets.values()), self.search.samples)
            step.note(", ".join(f"{name} {ms:.2f} ms" for name, ms in self._best_ms().items()))

    def cut(self, graph: str, backend: str) -> PartSet | None:
        """The parts of *graph*, compiled; None, with the reason kept, where the vendor refuses one."""
        if (graph, backend) not in self.sets:
            builder, path = self.builder.on(backend), self.made[graph].path
            with left_out(f"parts of {graph}", self.search.failed):
                ways = self._ways(graph, backend)
                self.sets[graph, backend] = cut_graph(builder, graph, path, self.parts.state, ways)
        return self.sets.get((graph, backend))

    def _ways(self, graph: str, backend: str) -> tuple[Settings, ...]:
        device = self.graphs.device
        inferences = [PRECISIONS[name][1] for name in self.precisions if PRECISIONS[name][0] == base_of(graph)]
        inferences = inferences if backend == device.backend else ["f32"]
        most = self.builder.threads
        threads = [most] if device.threads else list(dict.fromkeys([most, 1]))
        return tuple(Settings(count, inference) for inference in inferences for count in threads)

    def _fastest_int8(self) -> list[str]:
        rows = [row for row in self.search.rows.values() if base_of(row["graph"]) != FLOAT]
        ordered = sorted(rows, key=lambda row: (not row["passes"], row["p50_ms"]))
        return [row["graph"] for row in ordered[:1]]

    def _best_ms(self) -> dict[str, float]:
        names = [part.name for part in self.parts.partition.parts]
        return {name: min(time.p50_ms for time in self.times if time.part == name) for name in names if self.times}

    def only_where_faster(self) -> dict[str, Treatment]:
        """The fastest INT8 graph with those parts in float where INT8 gains nothing."""
        graph = next(iter(self._fastest_int8()), FLOAT)
        if graph == FLOAT or not self.times:
            return {}
        treatment = self.graphs.treatments.get(graph, Treatment())
        slower = [part.name for part in self.parts.partition.parts if self._int8_is_slower(part.name)]
        nodes = {c.node.name for c in self.graphs.quantizer.weighted(treatment)}
        floats = {name for name in nodes if self.parts.of_node.get(name, "trunk") in slower}
        if not floats or floats == nodes:
            return {}
        return {f"{base_of(graph)}-parts": replace(treatment, floats=treatment.floats | floats)}

    def _int8_is_slower(self, part: str) -> bool:
        """Compared in the same number of threads as the whole would have, in the best inference precision of each."""
        most = self.builder.threads
        own = [time for time in self.times if time.part == part and time.settings.threads == most]
        of_float = min((time.p50_ms for time in own if base_of(time.graph) == FLOAT), default=0.0)
        of_int8 = min((time.p50_ms for time in own if base_of(time.graph) != FLOAT), default=float("inf"))
        return of_int8 > of_float * (1 - TIE)

    def split(self, choice: Choice) -> SplitPlan | None:
        """Whether the chosen graph is worth running part by part; None where it has one part, or a part fails."""
        chosen = self.search.candidates[choice.name]
        unmeasured = self.graphs.device.backend == "tensorrt" or (self.search.out_of_time and not self.sets)
        if len(self.parts.partition.parts) < 2 or unmeasured:
            return None
        with self.steps.step("Part by part or whole") as step:
            parts = self.cut(chosen.graph, chosen.backend)
            if parts is None:
                return None
            ways = [how for how in parts.ways if how.inference_precision == chosen.settings.inference_precision]
            parts = replace(parts, ways=tuple(ways))
            times = self.builder.place.measure_parts([parts], self.search.samples)
            self.own_times = times
            self.times += times if not chosen.foreign else []
            found = plan_split(self.builder, chosen, parts, times, self.search.samples, self.search.judge)
            step.note(found.reason)
            return found

    def planned(self, choice: Choice, split: SplitPlan | None) -> Planned:
        """For the report: everything beside the choice."""
        cut = split.parts.partition if split and split.kept else self.parts.partition
        return Planned(
            parts=part_rows(self.graphs, self.made, self.parts, choice, self._times_of(choice)),
            boundary=tuple(boundary_rows(cut)),
            cut=split.to_json() if split else None,
            sensitivity=tuple(loss.to_json() for loss in self.losses),
            part_times=tuple(time.to_json() for time in self.times),
        )

    def _times_of(self, choice: Choice) -> list[PartTime]:
        """Those of the chosen graph in the chosen backend."""
        foreign = self.search.candidates[choice.name].foreign
        return self.own_times if foreign or self.own_times else self.times

    def _fastest_beyond_limit(self) -> dict[str, Any] | None:
        best = min((row["p50_ms"] for row in self.search.passing()), default=float("inf"))
        beyond = [row for row in self.search.rows.values() if not row["passes"] and base_of(row["graph"]) != FLOAT]
        faster = [row for row in beyond if row["p50_ms"] < best * (1 - TIE)]
        return min(faster, key=lambda row: float(row["p50_ms"]), default=None)

    def _float_noise(self, precision: str) -> float:
        """The error of what is not INT8: that of the float graph in the same inference precision."""
        same = [
            row
            for row in self.search.rows.values()
            if row["graph"] == FLOAT and PRECISIONS[row["precision"]][1] == PRECISIONS[precision][1]
        ]
        return max((10 ** (-row["sqnr_db"] / 10) for row in same), default=0.0)


def part_rows(
    graphs: Graphs, made: Iterable[str], parts: Parts, choice: Choice, times: Iterable[PartTime]
) -> tuple[dict[str, Any], ...]:
    """The report's ``plan.parts``; *made* are the names of the graphs that there are."""
    if not any(base_of(name).startswith("int8") for name in made):
        return parts.rows(choice, (), (), times)
    quantizer, chosen = graphs.quantizer, graphs.treatments.get(choice.graph, Treatment())
    quantized = quantizer.weighted(chosen) if base_of(choice.graph).startswith("int8") else []
    eligible = [item.node.name for item in quantizer.weighted()]
    return parts.rows(choice, {item.node.name for item in quantized}, eligible, times)


def part_losses(graphs: Graphs, parts: Parts, samples: Path, judge: Judge) -> list[Loss]:
    """What each part loses when it alone is INT8."""
    units = part_units(graphs.quantizer.weighted(), parts.macs, parts.of_node)
    return _losses(graphs, samples, judge, units, Treatment())


def mixed_treatments(
    graphs: Graphs, parts: Parts, samples: Path, judge: Judge, failing: str, other_noise: float = 0.0
) -> tuple[dict[str, Treatment], list[Loss]]:
    """Variants of the INT8 graph *failing* that leave in float what loses most, by name, and what each block loses;
    *other_noise* is the error of what is not INT8."""
    treatment = graphs.treatments.get(failing, Treatment())
    candidates = graphs.quantizer.weighted(treatment)
    losses = _losses(graphs, samples, judge, block_units(candidates, parts.macs, parts.of_node), treatment)
    floor = judge.accuracy.min_sqnr_db if judge.metric is None else None
    wanted = (keep_float(losses, noise) for noise in allowed_noises(losses, floor, other_noise))
    sets = distinct(wanted, frozenset(item.node.name for item in candidates))
    found = {
        f"{base_of(failing)}-mixed-{index}": replace(treatment, floats=treatment.floats | floats)
        for index, floats in enumerate(sets, start=1)
    }
    return found, losses


def _losses(graphs: Graphs, samples: Path, judge: Judge, units: list[Unit], treatment: Treatment) -> list[Loss]:
    probe = Probe(graphs.quantizer, units, list(itertools.islice(read_golden(samples), SAMPLES)), judge)
    return [probe.loss(unit, treatment) for unit in units]


def first_round(graphs: Graphs) -> dict[str, Treatment]:
    """The ways to do INT8 that are worth trying before anything is known, beside the plain one."""
    if graphs.device.backend == "tensorrt":  # residual sums are INT8 there anyway, depthwise stays float
        return {}
    quantizer = graphs.quantizer
    residuals = quantizer.has_residuals()
    found = {"int8-residuals": Treatment(residuals=True)} if residuals else {}
    if any(item.depthwise for item in quantizer.candidates):
        found["int8-depthwise"] = Treatment(residuals=residuals, depthwise=True)
    return found
