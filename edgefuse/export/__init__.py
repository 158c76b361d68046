"""From the user's model file to one ONNX graph. Runs at the workstation: may import torch and onnx.

A model format is a module of this package that satisfies :class:`Frontend`, plus one line in ``FRONTENDS``;
:mod:`edgefuse.export.detect` tells which one a file needs, by its content.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from edgefuse.backends import Runner
from edgefuse.export.detect import detect_kind
from edgefuse.recipe import Recipe
from edgefuse.spec import ModelSpec

FRONTENDS = {
    "exported-program": "edgefuse.export.exported_program",
    "torchscript": "edgefuse.export.torchscript",
    "state-dict": "edgefuse.export.state_dict",
    "module": "edgefuse.export.pickled",
    "onnx": "edgefuse.export.onnx_file",
}


@dataclass(frozen=True)
class Source:
    """A loaded float model. ``runner`` computes the reference; ``export`` writes the ONNX graph and returns
    the exporter's name: "torch-dynamo", "torchscript-legacy" or "onnx".

    The graph has opset 18 (an ONNX file keeps its own from 13 on), its inputs and outputs are named as in
    ``spec``, its weights are inside the file. An input that the model does not use is one of the graph's too.
    """

    kind: str
    spec: ModelSpec
    runner: Runner
    export: Callable[[Path], str]
    notes: tuple[str, ...] = ()


class Frontend(Protocol):
    def load(self, path: Path, recipe: Recipe, trust: bool) -> Source:
        """Load *path*, using the recipe's inputs where the file does not describe its own. Raises
        ``ModelError``."""


def load_source(path: Path, recipe: Recipe, trust: bool = False) -> Source:
    """The float model in *path*, whatever its format."""
    kind = detect_kind(path)
    return cast(Frontend, importlib.import_module(FRONTENDS[kind])).load(path, recipe, trust)
