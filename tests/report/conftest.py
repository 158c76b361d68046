"""A real report of ``edgefuse compile recipes/digits`` (2 cores, while other work ran), figures rounded, some steps
left out; and the other kinds of report that follow from it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

DIGITS: dict[str, Any] = {
    "format": 1,
    "verdict": "pass",
    "name": "digits",
    "target": "host",
    "backend": {"name": "openvino", "version": "2026.4.1"},
    "model": {
        "source": "state-dict",
        "exporter": "torch-dynamo",
        "notes": [],
        "inputs": [
            {
                "name": "image", "shape": [1, 1, 8, 8], "dtype": "float32", "modality": "image",
                "stream": "camera", "rate_hz": 30.0,
            },
            {
                "name": "audio", "shape": [1, 32, 24], "dtype": "float32", "modality": "audio",
                "stream": "microphone", "rate_hz": 10.0,
            },
            {
                "name": "text", "shape": [1, 12], "dtype": "int64", "modality": "text", "stream": "keyboard",
                "rate_hz": 1.0,
            },
        ],
        "outputs": ["logits"],
    },
    "plan": {
        "precision": "int8+bf16",
        "threads": 2,
        "split": False,
        "parts": [
            {
                "name": "whole", "streams": ["camera", "keyboard", "microphone"], "precision": "int8+bf16",
                "latency_p50_ms": 0.440627,
            },
        ],
        "reason": "int8+bf16: the fastest within the limit on the calibration samples, 1.39x float",
        "candidates": [
            {
                "precision": "float", "drop": 0.0, "sqnr_db": 133.398, "passes": True, "p50_ms": 0.630064,
                "p90_ms": 2.35555,
            },
            {
                "precision": "bf16", "drop": 0.0, "sqnr_db": 51.7367, "passes": True, "p50_ms": 0.575197,
                "p90_ms": 1.86555,
            },
            {
                "precision": "int8", "drop": 0.0, "sqnr_db": 39.4412, "passes": True, "p50_ms": 0.515424,
                "p90_ms": 1.9456,
            },
            {
                "precision": "int8+bf16", "drop": 0.0, "sqnr_db": 39.5589, "passes": True, "p50_ms": 0.453025,
                "p90_ms": 1.5797,
            },
        ],
    },
    "gates": [
        {
            "name": "export", "from": "float model", "to": "ONNX", "verdict": "pass", "sqnr_db": 133.786,
            "drop": None,
        },
        {
            "name": "quantize", "from": "ONNX", "to": "INT8 ONNX", "verdict": "pass", "sqnr_db": 37.387,
            "drop": 0.0010627,
        },
        {
            "name": "compile", "from": "INT8 ONNX", "to": "compiled int8+bf16", "verdict": "pass",
            "sqnr_db": 42.8716, "drop": -0.0010627,
        },
    ],
    "accuracy": [
        {
            "metric": "top1", "output": "logits", "labels": True, "reference": 0.976621, "candidate": 0.976621,
            "drop": 0.0, "ci95": [-0.00406572, 0.00406572], "limit": 0.00976621, "limit_text": "1%",
            "samples": 941, "verdict": "pass", "more_samples": None, "mcnemar_p": 1.0,
            "method": "Tango score interval",
        },
    ],
    "fidelity": [
        {
            "output": "logits", "samples": 941, "sqnr_db": 37.246, "sqnr_centered_db": 37.0363, "cosine": 0.999934,
            "max_abs": 0.584652, "nonfinite_mismatches": 0,
        },
    ],
    "latency": {
        "float": {
            "p50_ms": 0.49986,
            "p90_ms": 2.65859,
            "p99_ms": 5.52849,
            "max_ms": 12.4699,
            "runs": 1000,
            "warmup": 20,
            "quantiles_ms": [
                0.25836, 0.2682, 0.27728, 0.28311, 0.28876, 0.291, 0.29249, 0.29603, 0.29846, 0.30164, 0.30455,
                0.30663, 0.31118, 0.31483, 0.31972, 0.32273, 0.3271, 0.32875, 0.33328, 0.33711, 0.33993, 0.34241,
                0.34783, 0.35099, 0.35477, 0.35784, 0.36181, 0.36608, 0.36963, 0.37291, 0.37879, 0.38387, 0.38679,
                0.39015, 0.39265, 0.39609, 0.40169, 0.40801, 0.41324, 0.41969, 0.42463, 0.42675, 0.43213, 0.43885,
                0.44415, 0.45208, 0.45873, 0.46979, 0.47752, 0.49011, 0.49986, 0.51287, 0.52937, 0.5404, 0.55537,
                0.56144, 0.57519, 0.58736, 0.6013, 0.61671, 0.63088, 0.6506, 0.66295, 0.67552, 0.68485, 0.69909,
                0.71289, 0.72681, 0.74381, 0.75443, 0.76456, 0.78582, 0.80696, 0.81959, 0.83156, 0.84756, 0.85892,
                0.89373, 0.91616, 0.93694, 0.96735, 0.99969, 1.0341, 1.067, 1.1505, 1.2092, 1.329, 1.471, 1.9712,
                2.3621, 2.6586, 2.9543, 3.0933, 3.1936, 3.295, 3.4603, 3.9277, 4.0357, 4.6871, 5.5285, 12.47,
            ],
        },
        "compiled": {
            "p50_ms": 0.440627,
            "p90_ms": 2.63093,
            "p99_ms": 4.85717,
            "max_ms": 7.41659,
            "runs": 1000,
            "warmup": 20,
            "quantiles_ms": [
                0.20945, 0.21538, 0.21743, 0.21908, 0.22076, 0.22277, 0.22583, 0.22925, 0.23173, 0.2348, 0.23954,
                0.24264, 0.24611, 0.24873, 0.25384, 0.25712, 0.26247, 0.26619, 0.27106, 0.27619, 0.28114, 0.28875,
                0.29515, 0.29921, 0.30173, 0.30798, 0.31291, 0.31718, 0.32233, 0.32871, 0.33383, 0.33838, 0.34211,
                0.34733, 0.35152, 0.35494, 0.35966, 0.36317, 0.36552, 0.37044, 0.37489, 0.37906, 0.38278, 0.38854,
                0.39542, 0.40398, 0.41087, 0.41819, 0.42888, 0.43428, 0.44063, 0.44874, 0.45778, 0.47572, 0.49008,
                0.50161, 0.51998, 0.54172, 0.55625, 0.56973, 0.57889, 0.59428, 0.60453, 0.61583, 0.62556, 0.65184,
                0.66727, 0.68002, 0.6961, 0.71391, 0.7241, 0.73779, 0.76231, 0.77994, 0.78795, 0.80562, 0.82878,
                0.84082, 0.8583, 0.8901, 0.91611, 0.92795, 0.94666, 0.97849, 1.0351, 1.072, 1.1505, 1.5198, 1.9845,
                2.4161, 2.6309, 2.8443, 2.9397, 3.0614, 3.1801, 3.3417, 3.7089, 3.9834, 4.0249, 4.8572, 7.4166,
            ],
        },
        "speedup": 1.13443,
        "canary_p90_ratio": 1.01872,
        "limit_p90_ms": 20.0,
        "p90_ci95_ms": [2.01316, 2.93959],
        "verdict": "pass",
    },
    "size_bytes": 2478490,
    "calibration": {"by": "folders", "seed": 0, "calibrate": 256, "golden": 941},
    "stages": [
        {"name": "Loading the model", "seconds": 9.85615},
        {"name": "Float reference", "seconds": 45.2959},
        {"name": "Exporting to ONNX", "seconds": 2.44849},
        {"name": "Quantizing to INT8", "seconds": 0.252504},
        {"name": "Measuring latency", "seconds": 4.62639},
    ],
    "environment": {
        "cpu": "AMD EPYC",
        "arch": "x86_64",
        "cores": 2,
        "os": "Linux-6.18.44-fc-v669-x86_64-with-glibc2.36",
        "python": "3.11.7",
        "packages": {
            "edgefuse": "0.1.0", "numpy": "2.4.6", "onnx": "1.23.2", "onnxruntime": "1.32.0",
            "openvino": "2026.4.1", "torch": "2.13.0+cpu",
        },
    },
}


@pytest.fixture
def report() -> dict[str, Any]:
    """Verdict pass, int8+bf16 chosen among four; the test's own to change."""
    return copy.deepcopy(DIGITS)


@pytest.fixture
def failed(report: dict[str, Any]) -> dict[str, Any]:
    """Quantizing broke it, one candidate could not be compiled, and the float model was not timed."""
    report["verdict"] = report["gates"][1]["verdict"] = "fail"
    report["gates"][1] |= {"sqnr_db": 3.1, "drop": 0.31}
    report["accuracy"][0] |= {"verdict": "fail", "candidate": 0.667, "drop": 0.31, "ci95": [0.28, 0.34],
                              "mcnemar_p": 0.0}
    report["plan"]["candidates"][2] |= {"drop": 0.31, "sqnr_db": 3.1, "passes": False}
    report["plan"]["candidates"][1] = {"precision": "bf16", "passes": False, "failed": "CrashError: died of signal 11"}
    report["latency"] |= {"float": None, "float_reason": "the bundle holds no float graph", "speedup": None,
                          "speedup_reason": "no float latency"}
    report["latency"]["compiled"] |= {"p99_ms": None, "p99_reason": "needs 662 runs, had 64"}
    return report


@pytest.fixture
def undecided(report: dict[str, Any]) -> dict[str, Any]:
    """The same figures against a limit of 0.1 %."""
    report["verdict"] = "inconclusive"
    report["accuracy"][0] |= {"limit": 0.000976621, "limit_text": "0.1%", "verdict": "inconclusive",
                              "more_samples": 4383}
    return report


@pytest.fixture
def unlabelled(report: dict[str, Any]) -> dict[str, Any]:
    """Metric "sqnr": no scores and no drop, only the error of the outputs; one precision, as asked for."""
    report["accuracy"] = [{
        "metric": "sqnr", "output": None, "labels": False, "reference": None, "candidate": 37.0854, "drop": None,
        "ci95": None, "limit": 30.0, "limit_text": "at least 30 dB", "samples": 941, "verdict": "pass",
        "more_samples": None, "mcnemar_p": None,
        "method": "SQNR of the worst output, plain or mean-free, whichever is lower",
    }]
    for gate in report["gates"]:
        gate["drop"] = None
    report["plan"] |= {"candidates": [], "reason": "int8: as asked for"}
    return report
