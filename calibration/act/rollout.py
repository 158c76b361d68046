"""Let a policy move the simulated arm, and count how often the cube ends on the target.

    python calibration/act/rollout.py                    # recipes/act as trained, in torch
    python calibration/act/rollout.py act.edgefuse       # a compiled bundle

The model is asked in every frame, and what all chunks so far say for this frame is averaged with weights exp(-0.01 i),
i = 0 the oldest: ACT's temporal ensembling (Zhao et al. 2023, algorithm 2). With --execute N it is asked every N frames
instead, and the first N commands of its chunk are carried out. Layouts are neither those of training nor of heldout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tabletop.scene import CAMERAS, Floats, draw_layout
from tabletop.world import World

RECIPE = Path(__file__).resolve().parent.parent.parent / "recipes" / "act"
FIRST_SEED = 200_000
MOST_FRAMES = 150
SETTLED = 10  # frames of success that end an episode
OLDER = 0.01

Feed = Mapping[str, npt.NDArray[np.float32]]
Policy = Callable[[Feed], npt.NDArray[np.float32]]


def load_policy(bundle: Path | None) -> Policy:
    """A feed to (20, 6) commands: of *bundle*, or of the recipe's weights."""
    if bundle is not None:
        import edgefuse

        model = edgefuse.load(bundle)
        return lambda feed: model(dict(feed))["actions"][0]
    import torch

    sys.path.insert(0, str(RECIPE))
    from model import build

    torch.set_num_threads(1)
    network = build().eval()
    network.load_state_dict(torch.load(RECIPE / "weights.pt", weights_only=True))

    def answer(feed: Feed) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            found = network(**{name: torch.from_numpy(array) for name, array in feed.items()})
        actions: npt.NDArray[np.float32] = found["actions"][0].numpy()
        return actions

    return answer


def make_feed(world: World) -> Feed:
    """The model's inputs as the recipe's [recording] makes them of a dataset, but without its video compression."""
    images = world.images()
    feed = {
        f"image_{name}": (images[name].transpose(2, 0, 1)[None] * np.float32(1 / 255)).astype(np.float32)
        for name in CAMERAS
    }
    return {**feed, "state": world.state.astype(np.float32)[None]}


def roll_out(world: World, policy: Policy, seed: int, execute: int | None) -> tuple[bool, int]:
    """Whether the cube came to lie on the target, and after how many frames the episode ended."""
    world.reset(draw_layout(np.random.default_rng(seed)))
    chunks, settled = list[tuple[int, npt.NDArray[np.float32]]](), 0
    for frame in range(MOST_FRAMES):
        if execute is None or frame % execute == 0:
            chunks.append((frame, policy(make_feed(world))))
        world.step(_newest(chunks, frame) if execute else _ensembled(chunks, frame))
        settled = settled + 1 if world.success else 0
        if settled == SETTLED:
            return True, frame + 1
    return False, MOST_FRAMES


def _newest(chunks: list[tuple[int, npt.NDArray[np.float32]]], frame: int) -> Floats:
    start, chunk = chunks[-1]
    return chunk[frame - start].astype(np.float64)


def _ensembled(chunks: list[tuple[int, npt.NDArray[np.float32]]], frame: int) -> Floats:
    said = np.array([chunk[frame - start] for start, chunk in chunks if frame - start < len(chunk)], np.float64)
    found: Floats = np.average(said, axis=0, weights=np.exp(-OLDER * np.arange(len(said))))
    return found


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Let a policy move the simulated arm.")
    parser.add_argument("bundle", type=Path, nargs="?", help="a compiled bundle; without one, the recipe's weights")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--execute", type=int, help="ask every N frames instead of in each")
    args = parser.parse_args(argv)
    world, policy = World(), load_policy(args.bundle)
    results = [roll_out(world, policy, FIRST_SEED + number, args.execute) for number in range(args.episodes)]
    world.close()
    done = [frames for success, frames in results if success]
    failed = [FIRST_SEED + number for number, (success, _) in enumerate(results) if not success]
    typical = f", in {int(np.median(done))} frames (median)" if done else ""
    print(f"{len(done)} of {len(results)} cubes on the target{typical}; failed seeds: {failed}")


if __name__ == "__main__":
    main(sys.argv[1:])
