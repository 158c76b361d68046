"""Real reports of ``edgefuse compile recipes/digits``, figures rounded, some steps left out: ``host.json`` for the
machine itself (2 cores, while other work ran), ``portable.json`` for a Jetson that was not there, ``planned.json`` plan
and gates of a later one that measured the parts too. And the other kinds of report that follow from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


@pytest.fixture
def report() -> dict[str, Any]:
    """Verdict pass, int8+bf16 chosen among four; the test's own to change."""
    return read("host.json")


@pytest.fixture
def planned(report: dict[str, Any]) -> dict[str, Any]:
    """Nine candidates, three branches and a trunk, each measured in every way, shipped whole and as parts."""
    return report | read("planned.json")


@pytest.fixture
def crowded(planned: dict[str, Any]) -> dict[str, Any]:
    """Six branches with long names, a stream that only the trunk reads, 21 candidates that drop differently, blocks,
    and a search that ran out of time. Made up."""
    plan = planned["plan"]
    names = ["front_left_camera_rectified", "lidar/top_range_image", "imu", "wheel-odometry", "gps", "<b>language"]
    crossing = [f"/model/backbone_{i}/encoder/layer_0/attention/output/dense/MatMul_output_0" for i in range(6)]
    planned["model"]["inputs"] = [
        planned["model"]["inputs"][0] | {"name": f"{name}_input", "stream": name} for name in [*names, "goal"]
    ]
    branch, trunk = plan["parts"][0], plan["parts"][-1]
    plan["parts"] = [
        branch | {"name": name, "streams": [name], "inputs": [f"{name}_input"], "outputs": [tensor]}
        for name, tensor in zip(names, crossing)
    ]
    plan["parts"].append(trunk | {"streams": [*names, "goal"], "inputs": [*crossing, "goal_input"]})
    plan["boundary"] = [plan["boundary"][0] | {"name": tensor, "from": name} for name, tensor in zip(names, crossing)]
    plan["boundary"][0] |= {"size_bytes": None, "to": ["imu", "trunk"]}
    plan["sensitivity"] += [
        {**plan["sensitivity"][0], "name": f"camera/{i + 1}", "drop": i / 100, "sqnr_db": 60.0 - i} for i in range(12)
    ]
    row = {**plan["candidates"][0], "precision": "int8", "graph": "int8-mixed-1"}
    plan["candidates"] = [
        {**row, "name": f"int8 mixed {i}, 1 thread", "p50_ms": 1.0 + i / 10, "drop": 0.05 - i / 400, "passes": i > 15}
        for i in range(20)
    ]
    plan["candidates"].append({"name": "int8+fp16", "precision": "int8+fp16", "graph": None, "passes": False,
                               "failed": "CrashError: died"})  # fmt: skip
    early = "the time budget of 120 s ended the search"
    plan |= {"name": "int8 mixed 17, 1 thread", "ended_early": early, "cut": {**plan["cut"], "kept": False}}
    del planned["gates"][-1]
    return planned


@pytest.fixture
def portable() -> dict[str, Any]:
    """Verdict pending: four graphs for a Jetson, int8 first, nothing measured."""
    return read("portable.json")


@pytest.fixture
def finished(report: dict[str, Any]) -> dict[str, Any]:
    """The portable bundle after its device compiled it (:mod:`edgefuse.recompile`); the figures are the host's."""
    portable = read("portable.json")
    portable["gates"][-1] |= {"verdict": "pass", "sqnr_db": 41.2, "worst_sqnr_db": 41.0, "drop": 0.0}
    del portable["gates"][-1]["command"]
    rows = [
        {key: value for key, value in row.items() if key != "emulated"} | {"p50_ms": p50_ms, "p90_ms": 2 * p50_ms}
        for row, p50_ms in zip(portable["plan"]["candidates"], (1.2, 0.8, 0.7, 0.75))
    ]
    reason = "int8: the fastest of 4 precisions within the limit on the calibration samples"
    jetson = {"cpu": "ARMv8 Processor rev 1 (v8l)", "arch": "aarch64", "cores": 6, "os": "Linux-5.15.148-tegra"}
    board = {"board": "NVIDIA Jetson Orin Nano Developer Kit", "l4t": "36.4.3", "jetpack": "6.2"}
    return {
        **portable,
        "verdict": "pass",
        "backend": {"name": "tensorrt", "version": "10.3.0.30"},
        "plan": {
            **report["plan"],
            "name": "int8",
            "precision": "int8",
            "graph": "int8",
            "threads": 6,
            "reason": reason,
            "candidates": rows,
        },
        "accuracy": [{**portable["accuracy"][0], "emulated": False}],
        "latency": report["latency"],
        "finish": None,
        "environment": {**jetson, **board, "python": "3.10.12", "packages": {"tensorrt": "10.3.0"}},
        "exported_on": portable["environment"],
    }


@pytest.fixture
def elsewhere() -> dict[str, Any]:
    """Portable as well, but for a CPU through OpenVINO: no NVIDIA, no trtexec."""
    portable = read("portable.json")
    del portable["environment"]["packages"]["tensorrt-rtx-cu12-libs"]
    answer = {"verdict": "not run", "text": "not run: only for TensorRT; openvino compiles the graph itself"}
    portable["graphs"] = [{**portable["graphs"][index], "toolchain": answer} for index in (0, 2)]
    portable["plan"]["candidates"] = [portable["plan"]["candidates"][index] for index in (0, 2)]
    portable["finish"] |= {"why": "this machine is not arm-cpu", "on": "arm-cpu", "trtexec": None}
    return {**portable, "target": "arm-cpu", "target_alias": None, "backend": {"name": "openvino", "version": None}}


@pytest.fixture
def checked(report: dict[str, Any]) -> dict[str, Any]:
    """What ``edgefuse check`` makes: no target, no arrows, no graphs, and the plan from the manifest."""
    kept = ("verdict", "name", "plan", "accuracy", "fidelity", "latency", "stages", "environment")
    return {key: report[key] for key in kept}


@pytest.fixture
def failed(report: dict[str, Any]) -> dict[str, Any]:
    """Quantizing broke it, one candidate could not be compiled, and the float model was not timed."""
    report["verdict"] = report["gates"][1]["verdict"] = "fail"
    report["gates"][1] |= {"sqnr_db": 3.1, "drop": 0.31}
    report["accuracy"][0] |= {
        "verdict": "fail",
        "candidate": 0.667,
        "drop": 0.31,
        "ci95": [0.28, 0.34],
        "mcnemar_p": 0.0,
    }
    report["plan"]["candidates"][2] |= {"drop": 0.31, "sqnr_db": 3.1, "passes": False}
    report["plan"]["candidates"][1] = {
        "name": "bf16",
        "precision": "bf16",
        "graph": "float",
        "passes": False,
        "failed": "CrashError: died of signal 11",
    }
    report["latency"] |= {
        "float": None,
        "float_reason": "the bundle holds no float graph",
        "speedup": None,
        "speedup_reason": "no float latency",
    }
    report["latency"]["compiled"] |= {"p99_ms": None, "p99_reason": "needs 662 runs, had 64"}
    return report


@pytest.fixture
def undecided(report: dict[str, Any]) -> dict[str, Any]:
    """The same figures against a limit of 0.1 %."""
    report["verdict"] = "inconclusive"
    report["accuracy"][0] |= {
        "limit": 0.000976621,
        "limit_text": "0.1%",
        "verdict": "inconclusive",
        "more_samples": 4383,
    }
    return report


@pytest.fixture
def unlabelled(report: dict[str, Any]) -> dict[str, Any]:
    """Metric "sqnr": no scores and no drop, only the error of the outputs; one precision, as asked for."""
    report["accuracy"] = [
        {
            "metric": "sqnr",
            "output": None,
            "labels": False,
            "reference": None,
            "candidate": 37.0854,
            "drop": None,
            "ci95": None,
            "limit": 30.0,
            "limit_text": "at least 30 dB",
            "samples": 941,
            "verdict": "pass",
            "more_samples": None,
            "mcnemar_p": None,
            "method": "SQNR of the worst output, plain or mean-free, whichever is lower",
        }
    ]
    for gate in report["gates"]:
        gate["drop"] = None
    report["plan"] |= {"candidates": [], "reason": "int8: as asked for"}
    return report
