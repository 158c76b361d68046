"""Samples of drives of the simulated rover, read by EdgeFuse itself: what the model learns from has gone through the
transforms of recipe.toml, as what it is compiled with and what it sees on the robot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgefuse.recipe import Recipe
from edgefuse.recordings import Recording, Wanted, open_recording
from edgefuse.spec import ModelSpec
from edgefuse.stream.policy import StreamPolicy, sensor_inputs

EVERY = 3  # of 30 frames a second: neighbours are too alike to learn much from
WINDOW = 100
MIRRORED_BEAMS = (180 - torch.arange(180)) % 180  # beam 0 looks back, beam 90 ahead
MIRRORED_IMU = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
MIRRORED_STATE = torch.tensor([1.0, -1.0, 1.0])

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Inputs in the model's order, each (n, …), and the states (n, 3)."""

    inputs: tuple[Tensor, ...]
    state: Tensor

    def __len__(self) -> int:
        return len(self.state)

    def take(self, rows: Tensor) -> Samples:
        return Samples(tuple(item[rows] for item in self.inputs), self.state[rows])


def read_drives(recipe: Recipe, paths: Sequence[Path], seed: int = 0) -> Samples:
    """About ten samples for each second of the recordings at *paths*."""
    rng = np.random.default_rng(seed)
    streams = sensor_inputs(ModelSpec(recipe.inputs, recipe.outputs), recipe.state)
    axes = {name: recipe.streams.get(name, StreamPolicy()) for name in streams}
    wanted = {
        name: Wanted(items, axes[name].axis if axes[name].kind == "window" else None) for name, items in streams.items()
    }
    parts = [_read_drive(open_recording(path, wanted, recipe.recording, recipe.folder), rng) for path in paths]
    columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*parts)]
    return Samples(tuple(columns[:-1]), columns[-1])


def _read_drive(recording: Recording, rng: np.random.Generator) -> list[npt.NDArray[np.generic]]:
    """camera, lidar, imu, goal and state at every third frame: as the runtime sees them (what had arrived when the
    frame did) or as a calibration set has them (what had been acquired when the frame was), in turns at random."""
    stamps = {name: recording.stamps(name) for name in recording.counts}
    arrivals = {name: np.fromiter(recording.arrivals(name), np.int64) for name in recording.counts}
    frames = np.arange(int(rng.integers(EVERY)), len(stamps["camera"]), EVERY)
    live = rng.random(len(frames)) < 0.5
    now = np.where(live, arrivals["camera"][frames], stamps["camera"][frames])
    newest = {name: np.where(live, _newest(arrivals[name], now), _newest(stamps[name], now)) for name in stamps}
    labels = list(recording.labels())
    label = _newest(np.array([item.stamp_ns for item in labels]), now)
    whole = (newest["imu"] >= WINDOW - 1) & (newest["lidar"] >= 0) & (newest["goal"] >= 0) & (label >= 0)
    newest = {name: places[whole] for name, places in newest.items()}
    chosen = {name: set(places.tolist()) for name, places in newest.items()}
    chosen["imu"] = set(range(len(stamps["imu"])))
    held: dict[str, dict[int, npt.NDArray[np.generic]]] = {name: {} for name in stamps}
    for message in recording.messages(chosen=chosen):
        held[message.stream][message.number] = message.arrays[message.stream]
    recording.close()
    imu = np.concatenate([held["imu"][number].reshape(1, 6) for number in range(len(stamps["imu"]))])
    windows = np.stack([imu[last + 1 - WINDOW : last + 1] for last in newest["imu"]])
    column = {
        name: np.concatenate([held[name][n] for n in newest[name].tolist()]) for name in ("camera", "lidar", "goal")
    }
    state = np.stack([labels[n].value for n in label[whole].tolist()]).astype(np.float32)
    return [column["camera"], column["lidar"], windows, column["goal"], state]


def _newest(times: Times, until: Times) -> Times:
    """(n,) which of *times* is the newest that is not later; -1 where there is none."""
    return np.searchsorted(times, until, side="right") - 1


def augment(batch: Samples, generator: torch.Generator, absent: float) -> Samples:
    """Half of the samples mirrored left to right, each frame a little brighter or darker, a word in twenty one that is
    not known, and each input all 0 with probability *absent*, by itself: the fallback of its stream."""
    camera, lidar, imu, goal = batch.inputs
    count = len(batch)
    mirrored = torch.rand(count, generator=generator) < 0.5
    camera = torch.where(mirrored[:, None, None, None], camera.flip(3), camera)
    lidar = torch.where(mirrored[:, None], lidar[:, MIRRORED_BEAMS], lidar)
    imu = torch.where(mirrored[:, None, None], imu * MIRRORED_IMU, imu)
    state = torch.where(mirrored[:, None], batch.state * MIRRORED_STATE, batch.state)
    camera = (camera * (0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator))).clamp(max=1.0)
    garbled = (torch.rand(goal.shape, generator=generator) < 0.05) & (goal > 0)
    goal = torch.where(garbled, torch.ones_like(goal), goal)
    kept = torch.rand(4, count, generator=generator) >= absent
    inputs = tuple(
        item * kept[place].reshape(-1, *[1] * (item.ndim - 1)) for place, item in enumerate((camera, lidar, imu, goal))
    )
    return Samples(inputs, state)
