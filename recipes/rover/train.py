"""Train the rover's model, write its weights and print how well it does.

    python recipes/rover/train.py --data build/rover

Drives that are not in --data yet are simulated first (calibration/rover/record.py; 10 seconds each). Then about a
quarter of an hour on two cores. No checkpoint is picked: the weights after the last epoch are written, as float16, and
then measured on drives through arenas of their own. The committed recording calibration/rover/drive.mcap is not looked
at.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from pathlib import Path

import torch
from model import TOKEN, Rover, build
from samples import Samples, augment, read_drives
from torch import Tensor, nn

from edgefuse.recipe import read_recipe

HERE = Path(__file__).resolve().parent
RECORD = HERE.parent.parent / "calibration" / "rover" / "record.py"
WEIGHTS = HERE / "weights.pt"
SENSORS = ("camera", "lidar", "imu", "goal")
OUTPUTS = ("forward m/s", "yaw rate rad/s", "free way / 5 m")
TRAINING, HELD_OUT = range(1000, 1100), range(2000, 2012)  # seeds; the committed recording has 7
SECONDS = 30
BATCH = 64
PEAK_RATE = 2e-3
EPOCHS = 4
ABSENT = 0.15  # share of samples that lose one given sensor in training


class Alone(nn.Module):
    """One sensor by itself, for comparison: its encoder and an MLP; takes all inputs, uses one."""

    def __init__(self, sensor: str) -> None:
        super().__init__()
        self.place = SENSORS.index(sensor)
        self.encoder = getattr(Rover(), f"{sensor}_encoder")
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(TOKEN, TOKEN), nn.ReLU(), nn.Linear(TOKEN, len(OUTPUTS)))

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return {"state": self.head(self.encoder(inputs[self.place]))}


def drives(folder: Path, seeds: range) -> list[Path]:
    """A recording for each of *seeds* in *folder*, made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed}.mcap" for seed in seeds]
    for seed, path in zip(seeds, paths):
        if not path.exists():
            command = [sys.executable, RECORD, path, "--seconds", str(SECONDS), "--seed", str(seed)]
            subprocess.run([str(part) for part in command], check=True)
    return paths


def train(model: nn.Module, data: Samples, seed: int, absent: float) -> nn.Module:
    """Mean absolute error, AdamW under a one-cycle learning rate; the trained model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.05)
    batches = len(data) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=EPOCHS * batches)
    for epoch in range(EPOCHS):
        start, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(data), generator=generator)[: batches * BATCH].reshape(-1, BATCH):
            batch = augment(data.take(rows), generator, absent)
            with torch.autocast("cpu", torch.bfloat16):
                state = model(*batch.inputs)["state"]
            loss = (state.float() - batch.state).abs().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        took_s = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{EPOCHS} loss {total / batches:.4f} in {took_s:.0f} s", file=sys.stderr, flush=True)
    return model.eval()


def errors(model: nn.Module, data: Samples, present: tuple[str, ...] = SENSORS) -> Tensor:
    """(3,) mean absolute error of each output; sensors that are not *present* are 0, as their streams' fallback."""
    found = []
    with torch.inference_mode():
        for rows in torch.arange(len(data)).split(256):
            batch = data.take(rows)
            inputs = [x if name in present else torch.zeros_like(x) for name, x in zip(SENSORS, batch.inputs)]
            found.append((model(*inputs)["state"] - batch.state).abs())
    return torch.cat(found).mean(dim=0)


def row(title: str, found: Tensor) -> None:
    print(f"| {title} | {float(found.mean()):.4f} | {' | '.join(f'{value:.4f}' for value in found.tolist())} |")


def header(title: str) -> None:
    print(f"\n| {title} | mean | {' | '.join(OUTPUTS)} |\n| --- | ---: | ---: | ---: | ---: |")


def report(model: nn.Module, held_out: Samples) -> None:
    """Print the errors of *model* with every subset of the sensors."""
    header(f"MAE on {len(held_out)} samples of {len(HELD_OUT)} held-out drives")
    for size in range(len(SENSORS), 0, -1):
        for present in itertools.combinations(SENSORS, size):
            row(" + ".join(present) if size < len(SENSORS) else "all", errors(model, held_out, present))


def baselines(data: Samples, held_out: Samples, seed: int) -> None:
    """Print the errors of the best constant, and of a model of its own for each sensor alone."""
    header("MAE of models without fusion")
    row("constant (training median)", (held_out.state - data.state.median(dim=0).values).abs().mean(dim=0))
    for sensor in SENSORS:
        torch.manual_seed(seed)
        row(f"{sensor} only", errors(train(Alone(sensor), data, seed, absent=0.0), held_out))


def save(model: nn.Module) -> None:
    """The state_dict as float16: half the size, and what is measured afterwards is what was written."""
    weights = model.state_dict()
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in weights.items()}, WEIGHTS)


def load() -> nn.Module:
    """The model with the weights that are written."""
    model = build().eval()
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return model


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the rover's model.")
    parser.add_argument("--data", type=Path, default=Path("build/rover"), help="folder of recordings")
    parser.add_argument("--report", action="store_true", help="train nothing, print the table")
    parser.add_argument("--baselines", action="store_true", help="train the models without fusion, print theirs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """Train what the command line asks for, then print its table."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    recipe = read_recipe(HERE / "recipe.toml")
    held_out = read_drives(recipe, drives(args.data, HELD_OUT))
    if args.report:
        report(load(), held_out)
        return
    data = read_drives(recipe, drives(args.data, TRAINING), args.seed)
    if args.baselines:
        baselines(data, held_out, args.seed)
        return
    start = time.perf_counter()
    save(train(build(), data, args.seed, ABSENT))
    print(f"{len(data)} samples, trained in {(time.perf_counter() - start) / 60:.0f} min")
    report(load(), held_out)


if __name__ == "__main__":
    main(sys.argv[1:])
