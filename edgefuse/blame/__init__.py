"""Which part of the model the error starts in: a branch or the trunk, and whether in the graph, in the shipped
artifact, or in what the device's toolchain makes of the graph. ``docs/blame.md`` says how, and what cannot be told.

    with open_bundle(path) as bundle:
        found = find_parts_at_fault(bundle, run_here(bundle))
    found.part, found.text

Runs at the workstation: imports onnx and onnxruntime. The device answers with :mod:`edgefuse.part_answers`.
"""

from __future__ import annotations

from edgefuse.blame.find import find_parts_at_fault
from edgefuse.blame.places import RunParts, run_here, run_on
from edgefuse.blame.verdict import Blame, PartRow

__all__ = ["Blame", "PartRow", "RunParts", "find_parts_at_fault", "run_here", "run_on"]
