"""The float model in torch, eager and compiled. Both take numpy arrays by ``torch.from_numpy``, in inference mode."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from edgefuse.golden import read_golden
from edgefuse.spec import Array, Feed
from peers.case import Case


class TorchRunner:
    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, feed: Feed) -> dict[str, Array]:
        with torch.inference_mode():
            outputs = self.module(**{name: torch.from_numpy(array) for name, array in feed.items()})
            return {name: tensor.numpy() for name, tensor in outputs.items()}


def open_eager(case: Case, folder: Path) -> TorchRunner:
    return TorchRunner(torch.export.load(case.model).module())


def build_compiled(case: Case, folder: Path) -> None:
    """The first calls, which fill inductor's cache in *folder*."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise SystemExit("Error: torch.compile needs a C++ compiler, and there is none")
    runner = open_compiled(case, folder)
    feed = next(read_golden(case.golden)).feed
    for _ in range(3):
        runner(feed)


def open_compiled(case: Case, folder: Path) -> TorchRunner:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    return TorchRunner(torch.compile(torch.export.load(case.model).module()))
