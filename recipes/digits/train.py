"""Train the three fusions of the digits task, write their weights and print how well each does.

    python calibration/digits/make.py
    python recipes/digits/train.py --data build/digits/train.npz

Two to three minutes per fusion on two cores.  No checkpoint is picked by its score on
calibration/digits/golden: the weights after the last epoch are written and then measured.  The single
modalities are the three classifiers inside the decision fusion: each learns from its own loss alone, with the
same encoder as in the feature fusion.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from model import DecisionFusion, build, build_decision, build_early
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

RECIPES = Path(__file__).resolve().parent.parent
GOLDEN = RECIPES.parent / "calibration" / "digits" / "golden" / "samples.npz"
FACTORIES: dict[str, Callable[[], nn.Module]] = {
    "digits": build,
    "digits-early": build_early,
    "digits-decision": build_decision,
}
TITLES = {"digits": "feature fusion", "digits-early": "early fusion", "digits-decision": "decision fusion"}
KEYS = ("image", "audio", "text", "label")
BATCH = 128
PEAK_RATE = 2e-3
EPOCHS = 5
BLANK = 0.1  # share of samples that lose one given modality in training, feature and early fusion

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def load(path: Path) -> Batch:
    """image (n, 1, 8, 8) f32, audio (n, 32, 24) f32, text (n, 12) i64, label (n,) i64."""
    if not path.exists():
        raise SystemExit(f"train.py: no data at {path}; make it with calibration/digits/make.py")
    with np.load(path) as arrays:
        image, audio, text, label = (torch.from_numpy(arrays[key]) for key in KEYS)
    return image, audio, text, label


def batches(data: Batch, generator: torch.Generator) -> Iterator[Batch]:
    """Whole batches in a random order; the rest that does not fill one is left out."""
    order = torch.randperm(len(data[3]), generator=generator)
    for rows in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
        yield data[0][rows], data[1][rows], data[2][rows], data[3][rows]


def blank(batch: Batch, generator: torch.Generator) -> Batch:
    """Modality dropout: each modality of each sample is all 0 with probability BLANK, by itself."""
    image, audio, text, label = batch
    kept = torch.rand(3, len(label), generator=generator) >= BLANK
    image = image * kept[0, :, None, None, None]
    return image, audio * kept[1, :, None, None], text * kept[2, :, None], label


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of the logits; in decision fusion, of every classifier by itself and of the weights.

    There the combined loss reaches only the three weights (detach), so each classifier stays what its
    modality alone can do.
    """
    image, audio, text, label = batch
    if not isinstance(model, DecisionFusion):
        return cross_entropy(model(image, audio, text)["logits"], label, label_smoothing=0.05)
    first, second, third = model.verdicts(image, audio, text)
    own = nll_loss(first, label) + nll_loss(second, label) + nll_loss(third, label)
    combined = model.combine((first.detach(), second.detach(), third.detach()))
    return own + cross_entropy(combined, label)


def train(name: str, data: Batch, seed: int) -> nn.Module:
    """AdamW under a one-cycle learning rate; the trained model in eval mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = FACTORIES[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    steps = EPOCHS * (len(data[3]) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in batches(data, generator):
            alone = isinstance(model, DecisionFusion)  # its classifiers see one modality each: none to spare
            total += step(model, batch if alone else blank(batch, generator), optimizer)
            schedule.step()
        print(f"{name} epoch {epoch + 1}/{EPOCHS} loss {total / (steps / EPOCHS):.4f}", flush=True)
    return model.eval()


def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    """One update; the loss before it."""
    loss = loss_of(model, batch)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def accuracy(scores: Tensor, label: Tensor) -> float:
    """Percent of rows whose largest score is at the label."""
    return 100.0 * float((scores.argmax(dim=1) == label).to(torch.float64).mean())


def measure(name: str, model: nn.Module, golden: Batch) -> list[tuple[str, float]]:
    """(what, accuracy in percent) of the model, and of the single modalities in decision fusion."""
    image, audio, text, label = golden
    rows: list[tuple[str, float]] = []
    with torch.inference_mode():
        if isinstance(model, DecisionFusion):
            verdicts = model.verdicts(image, audio, text)
            rows = [(f"{key} only", accuracy(v, label)) for key, v in zip(KEYS[:3], verdicts, strict=True)]
        return [*rows, (TITLES[name], accuracy(model(image, audio, text)["logits"], label))]


def weights_path(name: str) -> Path:
    """Where a recipe keeps its state_dict."""
    return RECIPES / name / "weights.pt"


def report(golden: Batch) -> None:
    """Print the table for every weights file there is, as written."""
    print(f"\n| {len(golden[3])} golden samples | accuracy % | parameters |\n| --- | ---: | ---: |")
    for name in ("digits-decision", "digits-early", "digits"):
        if not weights_path(name).exists():
            continue
        model = FACTORIES[name]().eval()
        model.load_state_dict(torch.load(weights_path(name), weights_only=True))
        size = sum(parameter.numel() for parameter in model.parameters())
        for title, percent in measure(name, model, golden):
            print(f"| {title} | {percent:.1f} | {f'{size:,}' if 'fusion' in title else ''} |")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the three fusions of the digits task.")
    parser.add_argument("--data", type=Path, default=Path("build/digits/train.npz"), help="training set")
    parser.add_argument("--only", choices=tuple(FACTORIES), action="append", help="train this one (repeatable)")
    parser.add_argument("--report", action="store_true", help="train nothing, print the table")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """Train what the command line asks for, then print the table."""
    args = parse(argv)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    for name in () if args.report else args.only or tuple(FACTORIES):
        start = time.perf_counter()
        model = train(name, load(args.data), args.seed)
        weights_path(name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), weights_path(name))
        print(f"{name}: trained in {time.perf_counter() - start:.0f} s")
    report(load(GOLDEN))


if __name__ == "__main__":
    main(sys.argv[1:])
