"""Where the parts are run: in a child process here, or on a connected device. The same library function answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgefuse import child
from edgefuse.bundle import Bundle
from edgefuse.part_answers import PartAnswers, Question, Row, given_arrays

if TYPE_CHECKING:
    from edgefuse.remote import RemoteDevice

RunParts = Callable[[Question, Sequence[Row], Mapping[str, Path]], PartAnswers]
"""``run_parts(question, given, onnx_paths)``: the boundary tensors for each of the question's rows, and the ONNX files
of its parts (none where the bundle's own are run)."""

TIMEOUT_S = 1800.0


def run_here(bundle: Bundle) -> RunParts:
    """On this machine; a vendor's library that dies takes a child process with it, not us."""

    def run(question: Question, given: Sequence[Row], onnx_paths: Mapping[str, Path]) -> PartAnswers:
        with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
            sent, out = Path(folder) / "given.npz", Path(folder) / "answers.npz"
            np.savez(sent, **given_arrays(given))  # type: ignore[arg-type]
            arguments = {
                "path": str(bundle.path),
                "question": question.to_json(),
                "given": str(sent),
                "out": str(out),
                "onnx_paths": {name: str(path) for name, path in onnx_paths.items()},
            }
            what = "Running the model's parts"
            child.call("edgefuse.part_answers:answer_in_files", arguments, what=what, timeout_s=TIMEOUT_S)
            with np.load(out, allow_pickle=False) as arrays:
                return PartAnswers.from_arrays(dict(arrays), question.partition or bundle.partition)

    return run


def run_on(device: RemoteDevice, bundle: Bundle, sent: str) -> RunParts:
    """On *device*, to which *bundle* has been sent as *sent* (``device.put_bundle``)."""

    def run(question: Question, given: Sequence[Row], onnx_paths: Mapping[str, Path]) -> PartAnswers:
        files = {name: device.put_file(path) for name, path in onnx_paths.items()}
        arguments = {"bundle": sent, "question": question.to_json(), "files": files}
        found = device.ask("parts", arguments, arrays=given_arrays(given), timeout_s=TIMEOUT_S)
        return PartAnswers.from_arrays(found.arrays, question.partition or bundle.partition)

    return run
