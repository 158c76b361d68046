"""Runs an exported graph once: exporters write graphs that load but do not run, or hold for one size only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgefuse.export.capture.examples import largest
from edgefuse.export.capture.program import FixedDimError
from edgefuse.export.capture.torch_model import FlatCall, example_tensors
from edgefuse.export.finish import open_in_onnxruntime
from edgefuse.spec import Array, ModelSpec, TensorSpec


class ExportFailure(Exception):
    """One exporter gave up: ``__cause__`` says why, ``log`` is what it printed."""

    def __init__(self, log: str) -> None:
        super().__init__("the exporter failed")
        self.log = log


def check_runs(path: Path, spec: ModelSpec, reference: FlatCall) -> None:
    """Run the example, and both ends of dynamic ranges. Raises :class:`ExportFailure`.

    torch 2.13 writes graphs that no runtime executes (scatter_add with an index smaller than its source), and
    both exporters may unroll a loop over what the graph then calls dynamic.
    """
    session = open_in_onnxruntime(path)
    dynamic = any(item.dynamic for item in spec.inputs)
    for size in (TensorSpec.smallest, largest) if dynamic else (TensorSpec.smallest,):
        tensors = example_tensors(spec.inputs, size)
        feed = {name: tensor.numpy() for name, tensor in zip(spec.names, tensors)}
        with torch.no_grad():
            wanted = [result.numpy() for result in reference(*(tensor.clone() for tensor in tensors))]
        try:
            got = session.run(None, {name: feed[name] for name in spec.names})
        except Exception as error:  # onnxruntime's exceptions share no public base but Exception
            raise ExportFailure("") from error
        if not all(alike(a, b, values=dynamic) for a, b in zip(wanted, got)):
            shapes = ", ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in feed.items())
            raise ExportFailure("") from FixedDimError(f"the exported graph gives another answer for {shapes}")


def alike(wanted: Array, got: Array, values: bool) -> bool:
    """Same shape and dtype; floats roughly equal too (the gate over the golden samples compares strictly)."""
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        return False
    if not values or wanted.dtype.kind != "f":
        return True
    return bool(np.allclose(got, wanted, rtol=1e-2, atol=1e-2 * np.abs(wanted).max(initial=1e-6), equal_nan=True))
