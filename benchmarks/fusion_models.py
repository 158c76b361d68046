"""Fusion models of edge size, briefly trained on generated sensors, as files that EdgeFuse and its peers all take.

    python benchmarks/fusion_models.py OUTDIR [MODEL …]

writes ``OUTDIR/MODEL/``: ``model.pt2`` (the trained float model), ``recipe.toml``, ``samples/calibrate/`` and
``samples/golden/`` (256 each), ``about.json`` (what was learned, how much outputs vary). A model that is there
already is left alone. Seeds are fixed: the same machine writes the same files.

Random weights would not do: their outputs hardly depend on the inputs, and then the mean-free SQNR says nothing. Half
a minute of training on a task that needs every sensor gives outputs that vary far more than their mean is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import networks, tasks
from peers.case import GENERATED, STREAMED
from torch import Tensor, nn
from torch.nn import functional

from edgefuse.spec import Array

GENERATION = 1
"""Raised when networks, sensors or training change, so that cached files of before are made again."""
TRAINED, CALIBRATED, HELD_OUT = 1536, 256, 256
SEEDS = {"train": 1, "calibrate": 2, "golden": 3}
CHUNK = 64
BATCH = 16


@dataclass(frozen=True)
class FusionModel:
    """``streams``: input → (modality, stream, rate in Hz); ``steps`` of training at most at learning rate ``rate``."""

    network: Callable[[], nn.Module]
    draw: tasks.Draw
    streams: Mapping[str, tuple[str, str, float]]
    steps: int
    rate: float = 2e-3


CAMERA, LIDAR, IMU = ("image", "camera", 30.0), ("points", "lidar", 10.0), ("imu", "imu", 200.0)
MODELS: dict[str, FusionModel] = {
    "camera-lidar-imu": FusionModel(
        networks.CameraLidarImu,
        tasks.draw_camera_lidar_imu,
        {"camera": CAMERA, "lidar": LIDAR, "imu": IMU},
        steps=250,
    ),
    "two-cameras-act": FusionModel(
        networks.TwoCamerasAct,
        tasks.draw_two_cameras,
        {"left": ("image", "left", 30.0), "right": ("image", "right", 30.0), "joints": ("state", "joints", 100.0)},
        steps=250,
    ),
    "audio-image-crossattention": FusionModel(
        networks.AudioImage,
        tasks.draw_audio_image,
        {"audio": ("audio", "microphone", 10.0), "image": CAMERA},
        steps=250,
    ),
    "camera-gru": FusionModel(
        networks.CameraGru,
        tasks.draw_camera_gru,
        {"camera": CAMERA, "state": ("state", "state", 100.0)},
        steps=200,
    ),
    "camera-lidar-imu-audio": FusionModel(
        networks.CameraLidarImuAudio,
        tasks.draw_camera_lidar_imu_audio,
        {"camera": CAMERA, "lidar": LIDAR, "imu": IMU, "audio": ("audio", "microphone", 50.0)},
        steps=250,
    ),
}

assert tuple(MODELS) == (*GENERATED, *STREAMED)


def chunks(name: str, split: str, count: int) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """*count* samples in pieces of ``CHUNK``; each piece has a seed of its own, so that more begin with the same."""
    for index, start in enumerate(range(0, count, CHUNK)):
        yield MODELS[name].draw(min(CHUNK, count - start), np.random.default_rng([SEEDS[split], index]))


def drawn(name: str, split: str, count: int) -> tuple[dict[str, Array], dict[str, Array]]:
    pieces = list(chunks(name, split, count))
    return tuple({key: np.concatenate([p[side][key] for p in pieces]) for key in pieces[0][side]} for side in (0, 1))  # type: ignore[return-value]


def write_samples(name: str, folder: Path, split: str, count: int) -> None:
    """``folder/00000.npz`` and so on, one array per input and the targets as ``target.OUTPUT``."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (inputs, targets) in enumerate(chunks(name, split, count)):
        np.savez(folder / f"{index:05}.npz", **inputs, **{f"target.{key}": value for key, value in targets.items()})


def train(name: str) -> nn.Module:
    """The trained model: AdamW and one cycle of the learning rate, then batch-norm statistics over the whole set."""
    torch.manual_seed(0)
    entry, generator = MODELS[name], np.random.default_rng(0)
    inputs, targets = drawn(name, "train", TRAINED)
    model = entry.network().train().to(memory_format=torch.channels_last)  # twice as fast to train on a CPU
    optimizer = torch.optim.AdamW(model.parameters(), entry.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, entry.rate, entry.steps)
    for step in range(entry.steps):
        picked = generator.choice(TRAINED, BATCH, replace=False)
        found = model(**batch(inputs, picked))
        error = torch.stack([loss(found[key], torch.from_numpy(to[picked])) for key, to in targets.items()]).sum()
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"{name}: step {step + 1}, loss {error.item():.3f}", file=sys.stderr, flush=True)
    return settle(model.to(memory_format=torch.contiguous_format), inputs)


def batch(inputs: Mapping[str, Array], picked: Array) -> dict[str, Tensor]:
    tensors = {key: torch.from_numpy(array[picked]) for key, array in inputs.items()}
    layout = torch.channels_last
    return {key: t.contiguous(memory_format=layout) if t.ndim == 4 else t for key, t in tensors.items()}


def loss(found: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(found, target) if target.is_floating_point() else functional.cross_entropy(found, target)


@torch.no_grad()
def settle(model: nn.Module, inputs: Mapping[str, Array]) -> nn.Module:
    """Batch-norm statistics as the plain mean over 512 samples: the running ones lag behind so short a training."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    for start in range(0, 512, 64):
        model(**batch(inputs, np.arange(start, start + 64)))
    return model.eval()


@torch.no_grad()
def describe(model: nn.Module, inputs: Mapping[str, Array], targets: Mapping[str, Array]) -> dict[str, Any]:
    """For each output on held-out samples: what was learned (R² or top-1), standard deviation over samples (averaged
    over elements), root mean square of the mean over samples."""
    count, found = len(next(iter(inputs.values()))), {}
    parts = [model(**batch(inputs, np.arange(start, min(start + 32, count)))) for start in range(0, count, 32)]
    for key, target in targets.items():
        output = torch.cat([part[key] for part in parts]).numpy()
        if target.dtype.kind == "f":
            score = {"r2": float(1 - np.mean((output - target) ** 2) / np.mean((target - target.mean(0)) ** 2))}
        else:
            score = {"top1": float(np.mean(output.argmax(-1) == target))}
        spread, mean = float(output.std(0).mean()), float(np.sqrt(np.mean(output.mean(0) ** 2)))
        found[key] = {**score, "std": spread, "rms_of_mean": mean}
    return found


def recipe_toml(name: str, example: Mapping[str, Array], outputs: list[str]) -> str:
    lines = [f'name = "{name}"', "[model]", 'path = "model.pt2"']
    for key, (modality, stream, rate) in MODELS[name].streams.items():
        shape, dtype = list(example[key].shape), example[key].dtype
        lines += [f"[inputs.{key}]", f"shape = {shape}", f'dtype = "{dtype}"', f'modality = "{modality}"']
        lines += [f'stream = "{stream}"', f"rate_hz = {rate:g}"]
    lines += [f"[outputs.{key}]" for key in outputs]
    return "\n".join([*lines, "[calibration]", 'path = "samples"', f"samples = {CALIBRATED}", ""])


def prepare(name: str, out: Path) -> Path:
    """The folder of the model called *name* in *out*, made unless it is there."""
    folder = out / name
    about = folder / "about.json"
    if about.exists() and json.loads(about.read_text())["generation"] == GENERATION:
        return folder
    started = time.perf_counter()
    for split, count in (("calibrate", CALIBRATED), ("golden", HELD_OUT)):
        write_samples(name, folder / "samples" / split, split, count)
    model = train(name)
    inputs, targets = drawn(name, "golden", HELD_OUT)
    example = {key: array[:1] for key, array in inputs.items()}
    exported = torch.export.export(model, (), {key: torch.from_numpy(array) for key, array in example.items()})
    torch.export.save(exported, folder / "model.pt2")
    (folder / "recipe.toml").write_text(recipe_toml(name, example, list(targets)))
    facts = {"generation": GENERATION, "parameters": sum(p.numel() for p in model.parameters())}
    facts |= {"outputs": describe(model, inputs, targets), "seconds": time.perf_counter() - started}
    about.write_text(json.dumps(facts, indent=1))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUTDIR")
    parser.add_argument("names", nargs="*", metavar="MODEL")
    options = parser.parse_args()
    for name in options.names:
        if name not in MODELS:
            sys.exit(f"there is no model {name!r}; known: {', '.join(MODELS)}")
    for name in options.names or MODELS:
        folder = prepare(name, options.out)
        print(folder, json.dumps(json.loads((folder / "about.json").read_text())))


if __name__ == "__main__":
    main()
