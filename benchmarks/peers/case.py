"""A model to compare on: one folder with the float model, its ONNX graph and its samples, which every arm is given.

Imports no vendor library: a tool's process must not pay for what it does not use.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgefuse.calibration import Split, open_calibration
from edgefuse.check import Judge, make_judge
from edgefuse.metrics import SQNR, load_metric
from edgefuse.recipe import Recipe, read_recipe
from edgefuse.resources import shipped_names
from edgefuse.spec import Array, ModelSpec

GENERATED = ("camera-lidar-imu", "two-cameras-act", "audio-image-crossattention", "camera-gru")
"""The models of ``fusion_models.py``, named here so that nobody imports torch for their names."""

STREAMED = ("camera-lidar-imu-audio",)
"""Models of ``fusion_models.py`` that ``streaming.py`` alone measures."""


@dataclass(frozen=True)
class Case:
    """``recipe_path`` names the samples and the limit; ``folder`` holds ``model.pt2``, ``float.onnx``, ``golden.npz``
    (held-out samples with the float model's answers), and ``arms/ARM/`` with what each tool made."""

    name: str
    folder: Path
    recipe_path: Path

    @classmethod
    def read(cls, folder: Path) -> Case:
        facts = json.loads((folder / "case.json").read_text())
        return cls(facts["name"], folder, Path(facts["recipe"]))

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {"name": self.name, "recipe": str(self.recipe_path)}
        (self.folder / "case.json").write_text(json.dumps(facts))

    @property
    def model(self) -> Path:
        return self.folder / "model.pt2"

    @property
    def onnx(self) -> Path:
        return self.folder / "float.onnx"

    @property
    def golden(self) -> Path:
        return self.folder / "golden.npz"

    def arm(self, arm: str) -> Path:
        return self.folder / "arms" / arm

    @functools.cached_property
    def recipe(self) -> Recipe:
        return read_recipe(self.recipe_path)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(self.recipe.inputs, self.recipe.outputs)

    @property
    def calibrate(self) -> Split:
        """The samples that calibrate: the same ones that EdgeFuse takes by the recipe."""
        return open_calibration(self.recipe.calibration, self.spec, self.recipe.accuracy.label).calibrate

    @property
    def feeds(self) -> Feeds:
        return Feeds(self.calibrate)

    @property
    def judge(self) -> Judge:
        name = self.recipe.accuracy.metric
        metric = None if name == SQNR else load_metric(name, self.recipe.folder)
        return make_judge(self.recipe.accuracy, metric, self.spec.outputs)


@dataclass(frozen=True)
class Feeds:
    """A split's feeds, one in memory at a time, as often as wanted: what NNCF and onnxruntime are given."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return self.split.feeds()


def digits_recipes() -> dict[str, Path]:
    """The recipes that ship with EdgeFuse and their labels, by name."""
    return shipped_names("recipes", "*/recipe.toml")
