"""Train the policy on a LeRobot dataset, write its weights and print how well it does.

    python calibration/act/make.py build/act/train --episodes 160 --seed 0
    python recipes/act/train.py --data build/act/train

The loss is ACT's, L1 on chunks of normalised commands, here without the CVAE's second term. No checkpoint is picked by
its error on calibration/act/heldout: the weights after the last step are written and then measured. Needs
`pip install "edgefuse[lerobot,compile]"`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from model import CHUNK, HEIGHT, MOTORS, WIDTH, Policy, build
from torch import Tensor, nn
from torch.nn.functional import l1_loss

FOLDER = Path(__file__).resolve().parent
HELDOUT = FOLDER.parent.parent / "calibration" / "act" / "heldout"
WEIGHTS = FOLDER / "weights.pt"
BATCH, PEAK_RATE = 32, 7e-4
STEPS = 3000

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """All frames of a dataset: images (n, 3, 72, 96) uint8 RGB, ``state`` (n, 6) and ``chunk`` (n, 20, 6) float32 in
    rad, ``episode`` (n,) int64."""

    top: npt.NDArray[np.uint8]
    wrist: npt.NDArray[np.uint8]
    state: Floats
    chunk: Floats
    episode: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.state)


def load(folder: Path) -> Frames:
    """The LeRobot v3.0 dataset in *folder*, whose data fill one file and whose videos one each."""
    if not (folder / "meta/info.json").exists():
        raise SystemExit(f"train.py: no dataset at {folder}; make it with calibration/act/make.py")
    info = json.loads((folder / "meta/info.json").read_text())
    file = {"chunk_index": 0, "file_index": 0}
    names = ["observation.state", "action_chunk", "episode_index"]
    table = pq.read_table(folder / info["data_path"].format(**file), columns=names)
    keys = [f"observation.images.{camera}" for camera in ("top", "wrist")]
    top, wrist = (_decode(folder / info["video_path"].format(video_key=key, **file)) for key in keys)
    state, chunk, episode = (table.column(name).to_pylist() for name in names)
    return Frames(top, wrist, np.array(state, np.float32), np.array(chunk, np.float32), np.array(episode))


def _decode(path: Path) -> npt.NDArray[np.uint8]:
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    pixels = np.stack(frames).transpose(0, 3, 1, 2)
    assert pixels.shape[1:] == (3, HEIGHT, WIDTH)
    return np.ascontiguousarray(pixels)


def batches(data: Frames, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Batches without end, each frame once before one comes again; brightness and contrast vary per sample."""
    while True:
        order = torch.randperm(len(data), generator=generator).numpy()
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            images = (_varied(pixels[rows], generator) for pixels in (data.top, data.wrist))
            yield *images, torch.from_numpy(data.state[rows]), torch.from_numpy(data.chunk[rows])


def _varied(pixels: npt.NDArray[np.uint8], generator: torch.Generator) -> Tensor:
    image = torch.from_numpy(pixels).to(torch.float32) / 255
    gain, shift = torch.rand(2, len(image), 1, 1, 1, generator=generator) - 0.5
    image = (image * (1 + 0.3 * gain) + 0.1 * shift).clamp(0, 1)
    return image.contiguous(memory_format=torch.channels_last)


def fit_scales(model: Policy, data: Frames) -> None:
    """Mean and standard deviation of states and commands into the model's buffers."""
    for name, values in (("state", data.state), ("action", data.chunk.reshape(-1, MOTORS))):
        getattr(model, f"{name}_mean").copy_(torch.from_numpy(values.mean(0)))
        getattr(model, f"{name}_std").copy_(torch.from_numpy(values.std(0)))


def train(data: Frames, seed: int, steps: int) -> Policy:
    """AdamW under a one-cycle learning rate, forward passes in bfloat16; the trained model in eval mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = build()
    assert isinstance(model, Policy)
    fit_scales(model, data)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.1)
    total = 0.0
    for number, (top, wrist, state, chunk) in zip(range(1, steps + 1), batches(data, generator)):
        with torch.autocast("cpu", torch.bfloat16):
            found = model(top, wrist, state)["actions"]
        loss = l1_loss(found.float() / model.action_std, chunk / model.action_std)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if number % 250 == 0:
            print(f"step {number}/{steps} loss {total / 250:.4f}", flush=True)
            total = 0.0
    return model.to(memory_format=torch.contiguous_format).eval()


def answers(model: nn.Module, data: Frames) -> Floats:
    """(n, 20, 6) what the model says to every frame."""
    parts = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(data)), -(-len(data) // 64)):
            top, wrist = (torch.from_numpy(pixels[rows]).to(torch.float32) / 255 for pixels in (data.top, data.wrist))
            parts.append(model(top, wrist, torch.from_numpy(data.state[rows]))["actions"].numpy())
    return np.concatenate(parts)


def report(heldout: Frames, training: Frames | None) -> None:
    """Print the mean absolute error of the weights as written, and what simpler answers get."""
    model = build().eval()
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    rows = {"the policy": answers(model, heldout)}
    rows["the measured joints, held"] = np.repeat(heldout.state[:, None], CHUNK, axis=1)
    if training is not None:
        rows["the training data's mean chunk"] = np.broadcast_to(training.chunk.mean(0), heldout.chunk.shape)
    print(f"\n| {len(heldout)} held-out frames | error, mrad | first 5 steps | last 5 steps |")
    print("| --- | ---: | ---: | ---: |")
    for title, found in rows.items():
        error = 1e3 * np.abs(found - heldout.chunk).mean(axis=(0, 2))
        print(f"| {title} | {error.mean():.1f} | {error[:5].mean():.1f} | {error[-5:].mean():.1f} |")
    print(f"\n{sum(parameter.numel() for parameter in model.parameters()):,} parameters")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the ACT-like policy.")
    parser.add_argument("--data", type=Path, default=Path("build/act/train"), help="training set")
    parser.add_argument("--report", action="store_true", help="train nothing, print the table")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """Train, then print the table."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    training = load(args.data) if not args.report or args.data.exists() else None
    if not args.report:
        assert training is not None
        start = time.perf_counter()
        model = train(training, args.seed, args.steps)
        torch.save(model.state_dict(), WEIGHTS)
        print(f"trained on {len(training)} frames in {time.perf_counter() - start:.0f} s")
    report(load(HELDOUT), training)


if __name__ == "__main__":
    main(sys.argv[1:])
