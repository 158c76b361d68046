"""Record a drive of the simulated rover: camera, LiDAR, IMU, the goal in words, and the truth, as one MCAP file.

    python calibration/rover/record.py drive.mcap --seconds 120 --seed 7

A seed is an arena, a driver and all noise. The same seed gives the same bytes with the same versions of mujoco,
OSMesa, pillow, mcap and zstandard. Needs `pip install "edgefuse[dev]"` and, for the camera, libosmesa6 (Debian:
apt install libosmesa6).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from messages import write_mcap
from simulation.drive import drive


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Record a drive of the simulated rover.")
    parser.add_argument("out", type=Path, nargs="?", default=Path("drive.mcap"), help="file to write (.mcap)")
    parser.add_argument("--seconds", type=float, default=120.0, help="length")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    start = time.perf_counter()
    deliveries = drive(args.seed, args.seconds)
    write_mcap(args.out, deliveries)
    size_mb, took_s = args.out.stat().st_size / 1e6, time.perf_counter() - start
    print(f"{args.out}: {args.seconds:g} s, {len(deliveries)} messages, {size_mb:.2f} MB, in {took_s:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
