"""Every candidate precision as a vendor artifact, and opening them.

The vendor's compilation and first inference run in a child process, which may crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from edgefuse import child
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.calibration import Split
from edgefuse.compile.plan import PRECISIONS, Candidate
from edgefuse.device import Device
from edgefuse.errors import EdgeFuseError
from edgefuse.progress import Steps
from edgefuse.quantize import quantize_int8
from edgefuse.spec import ModelSpec


class Builder:
    """Holds what every candidate of one compilation shares: the float graph in *work*, the device, the samples."""

    def __init__(self, work: Path, golden: Path, calibrate: Split, spec: ModelSpec, device: Device) -> None:
        self.work, self.golden, self.calibrate, self.spec, self.device = work, golden, calibrate, spec, device
        self.float_onnx, self.int8_onnx = work / "float.onnx", work / "int8.onnx"

    def build(
        self, precisions: list[str], required: set[str], steps: Steps
    ) -> tuple[dict[str, Candidate], dict[str, str]]:
        """The artifacts, and why the others failed; one that is *required* raises instead."""
        built, failed = {}, {}
        for precision in precisions:
            try:
                built[precision] = self._build_one(precision, steps)
            except EdgeFuseError as error:
                if precision in required:
                    raise
                failed[precision] = f"{type(error).__name__}: {error.what}"
        return built, failed

    def _build_one(self, precision: str, steps: Steps) -> Candidate:
        quantized, inference_precision = PRECISIONS[precision]
        if quantized and not self.int8_onnx.exists():
            with steps.step("Quantizing to INT8") as step:
                counts = quantize_int8(self.float_onnx, self.int8_onnx, self.calibrate.feeds())
                step.note(f"{counts.int8} of {counts.operations} operations in INT8")
        settings = Settings(self.device.resolve_threads(), inference_precision)
        onnx_path = self.int8_onnx if quantized else self.float_onnx
        candidate = Candidate(precision, onnx_path, self.work / "artifacts" / precision, settings)
        with steps.step(f"Compiling {precision}"):
            self._compile_artifact(candidate)
        return candidate

    def _compile_artifact(self, candidate: Candidate) -> None:
        candidate.artifact.mkdir(parents=True)
        arguments = {
            "backend": self.device.backend,
            "onnx_path": str(candidate.onnx_path),
            "out": str(candidate.artifact),
            "golden": str(self.golden),
            "spec": self.spec.to_json(),
            "settings": asdict(candidate.settings),
        }
        what = f"{self.device.backend}, compiling the {candidate.precision} graph,"
        child.call("edgefuse.probe:compile_artifact", arguments, what=what)

    @contextlib.contextmanager
    def opened(self, candidates: Mapping[str, Candidate]) -> Iterator[dict[str, Runner]]:
        """A runner for each candidate, closed at the end of the block."""
        backend = load_backend(self.device.backend)
        with contextlib.ExitStack() as stack:
            runners = {}
            for name, candidate in candidates.items():
                runners[name] = backend.open(candidate.artifact, self.spec, candidate.settings)
                stack.callback(runners[name].close)
            yield runners
