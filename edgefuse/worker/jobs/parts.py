"""What the parts of a bundle's model answer here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.bundle import open_bundle
from edgefuse.part_answers import Question, answer, given_rows
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """*arguments*: ``bundle``, ``question``, and ``files``: part to the ONNX file that was sent. *arrays*: the boundary
    tensors."""
    asked = Question.from_json(arguments["question"])
    files = {name: desk.file(digest) for name, digest in arguments["files"].items()}
    with open_bundle(desk.bundle(arguments["bundle"]), hashes=False) as bundle:
        found = answer(bundle, asked, given_rows(asked, arrays), files)
        return Answer(len(found.whole), found.to_arrays(asked.partition or bundle.partition))
