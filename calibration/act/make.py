"""Make a LeRobot dataset of demonstrations: a simulated arm puts a cube on a target.

    python calibration/act/make.py                                       # the committed calibration/act/heldout
    python calibration/act/make.py build/act/train --episodes 160 --seed 0  # what recipes/act/train.py trains on

An episode's seed is --seed plus its number; it is the layout, the looks, the light and all disturbances. The same seeds
give the same episodes with the same versions of mujoco and OSMesa. Needs `pip install "edgefuse[dev]"` and, for the
cameras, libosmesa6 (Debian: apt install libosmesa6).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from lerobot_v3 import write_dataset
from tabletop.episode import Episode, record
from tabletop.world import World

HELDOUT = Path(__file__).parent / "heldout"
HELDOUT_SEED = 100_000
CHUNK = 20
DISTURBANCE_RAD = 0.08


def make_episodes(count: int, seed: int) -> list[Episode]:
    """*count* demonstrations; a layout on which the expert fails is left out, and the next seed takes its place."""
    world, found = World(), list[Episode]()
    while len(found) < count:
        try:
            found.append(record(world, seed, DISTURBANCE_RAD))
        except RuntimeError as error:
            print(error, file=sys.stderr)
        seed += 1
    world.close()
    return found


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Make a LeRobot dataset of demonstrations.")
    parser.add_argument("out", type=Path, nargs="?", default=HELDOUT, help="folder to write; what is there goes")
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--seed", type=int, default=HELDOUT_SEED)
    args = parser.parse_args(argv)
    start = time.perf_counter()
    episodes = make_episodes(args.episodes, args.seed)
    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    write_dataset(part, episodes, CHUNK)
    shutil.rmtree(args.out, ignore_errors=True)
    os.rename(part, args.out)
    size_mb = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file()) / 1e6
    frames = sum(map(len, episodes))
    took_s = time.perf_counter() - start
    print(f"{args.out}: {len(episodes)} episodes, {frames} frames, {size_mb:.2f} MB, in {took_s:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
