"""What torch's exporter makes of stacking and of open batches."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from edgefuse.export import load_source
from edgefuse.recipe import ModelSource, Recipe
from edgefuse.spec import DimRange, TensorSpec
from tests.partition.graphs import check_composition, names


class Stacked(nn.Module):
    """Both sensors' features are stacked, and each has a layer of its own behind that."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(6, 16)
        self.behind_a, self.behind_b, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(32, 3)

    def forward(self, a, b):
        first, second = torch.stack([self.a(a), self.b(b)], dim=1).unbind(1)
        return self.head(torch.cat([self.behind_a(first).relu(), self.behind_b(second).relu()], -1))


class OpenBatch(nn.Module):
    """The LSTM's first state is as large as the image's batch, as the exporter has it: both are n."""

    def __init__(self):
        super().__init__()
        self.conv, self.lstm, self.head = nn.Conv2d(1, 4, 3), nn.LSTM(6, 8, batch_first=True), nn.Linear(8 + 144, 3)

    def forward(self, image, imu):
        motion = self.lstm(imu)[0][:, -1]
        return self.head(torch.cat([self.conv(image).flatten(1), motion], 1))


def exported(model, example, inputs, path, dynamic=None):
    torch.manual_seed(0)
    torch.export.save(torch.export.export(model.eval(), example, dynamic_shapes=dynamic), path / "m.pt2")
    recipe = Recipe(name="m", folder=path, model=ModelSource(path=path / "m.pt2"), inputs=inputs)
    source = load_source(path / "m.pt2", recipe)
    source.export(path / "m.onnx")
    return onnx.load(path / "m.onnx"), source.spec


def test_what_torch_stacks_and_unbinds_stays_apart(tmp_path):
    inputs = (TensorSpec("a", (1, 8), stream="a"), TensorSpec("b", (1, 6), stream="b"))
    model, spec = exported(Stacked(), (torch.randn(1, 8), torch.randn(1, 6)), inputs, tmp_path)
    found = check_composition(model, spec)
    assert names(found.partition) == ["a", "b", "trunk"] and found.partition["a"].macs == 8 * 16 + 16 * 16


def test_a_batch_that_torch_reads_from_one_input_is_a_shape_input_of_the_others_branch(tmp_path):
    batch = DimRange(1, 4)
    inputs = (TensorSpec("image", (batch, 1, 8, 8), stream="camera"), TensorSpec("imu", (batch, 10, 6), stream="imu"))
    n = torch.export.Dim("n", min=1, max=4)
    example = (torch.randn(2, 1, 8, 8), torch.randn(2, 10, 6))
    model, spec = exported(OpenBatch(), example, inputs, tmp_path, ({0: n}, {0: n}))
    found = check_composition(model, spec)
    assert names(found.partition) == ["camera", "imu", "trunk"]
    assert len(found.partition["imu"].shape_inputs) == 1 and found.partition["imu"].streams == ("imu",)


pytestmark = pytest.mark.filterwarnings("ignore")
