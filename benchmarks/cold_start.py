"""From a fresh process to the first result: the vendor's own way, and EdgeFuse with and without its cache.

    python benchmarks/cold_start.py BUNDLE…

Every run is a process of its own, all ways in turns, files in the page cache. "load" is from after the imports to the
first result, "hashes" what verifying the bundle has of it, "process" all of it, interpreter and imports too. Prints
medians, and the ratio to the vendor's IR in the same round: median, and the range of half of the rounds. Bundles whose
plan runs on OpenVINO, whole. Not a timed test: read the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edgefuse.bundle import open_bundle
from edgefuse.golden import read_golden
from edgefuse.runtime import load

VENDOR = """
import json, sys, time
import numpy as np
import openvino as ov
graph, config, feed = sys.argv[1], json.loads(sys.argv[2]), dict(np.load(sys.argv[3]))
start = time.perf_counter()
core = ov.Core()
core.compile_model(core.read_model(graph), "CPU", config).create_infer_request().infer(feed)
print(json.dumps({"load": (time.perf_counter() - start) * 1e3}))
"""

EDGEFUSE = """
import json, sys, time
from pathlib import Path
import numpy as np
import edgefuse.backends.openvino
import edgefuse.bundle
bundle, blobs, feed = sys.argv[1], sys.argv[2], dict(np.load(sys.argv[3]))
verify, taken = edgefuse.bundle.verify, []
def timed(*arguments, **named):
    start = time.perf_counter()
    found = verify(*arguments, **named)
    taken.append(time.perf_counter() - start)
    return found
edgefuse.bundle.verify = timed
start = time.perf_counter()
edgefuse.load(bundle, cache=Path(blobs) if blobs else False)(feed)
print(json.dumps({"load": (time.perf_counter() - start) * 1e3, "hashes": sum(taken) * 1e3}))
"""


@dataclass(frozen=True)
class Way:
    """A script and its arguments, and what its runs took in ms by round."""

    code: str
    arguments: list[str]
    load: list[float]
    process: list[float]
    hashes: list[float]

    def run(self) -> None:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", self.code, *self.arguments], check=True, capture_output=True, text=True
        )
        self.process.append((time.perf_counter() - start) * 1e3)
        found = json.loads(done.stdout)
        self.load.append(found["load"])
        self.hashes.append(found.get("hashes", 0.0))


def ways(path: Path, folder: Path) -> dict[str, Way]:
    """All ways to start the bundle's plan, and the feed that they start with, written to *folder*."""
    with open_bundle(path) as bundle:
        settings, artifact = bundle.settings, bundle.artifact / "model.xml"
        graph = bundle.graphs[bundle.manifest["plan"]["graph"]]
    feed = folder / f"{path.stem}.npz"
    np.savez(feed, **next(iter(read_golden(path / "golden.npz"))).feed)
    config = json.dumps(
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": settings.threads,
            "INFERENCE_PRECISION_HINT": settings.inference_precision,
            **({} if settings.pinned else {"ENABLE_CPU_PINNING": False}),
        }
    )
    blobs = folder / "blobs"
    load(path, cache=blobs).close()
    rows: dict[str, tuple[str, list[str]]] = {
        "OpenVINO, ONNX": (VENDOR, [str(graph), config, str(feed)]),
        "OpenVINO, IR": (VENDOR, [str(artifact), config, str(feed)]),
        "edgefuse, no cache": (EDGEFUSE, [str(path), "", str(feed)]),
        "edgefuse, warm cache": (EDGEFUSE, [str(path), str(blobs), str(feed)]),
    }
    return {name: Way(code, arguments, [], [], []) for name, (code, arguments) in rows.items()}


def show(title: str, found: dict[str, Way]) -> Table:
    table = Table("way", "load ms", "hashes ms", "process ms", "load ratio", "process ratio", title=title)
    base = found["OpenVINO, IR"]
    for name, way in found.items():
        hashes = f"{statistics.median(way.hashes):.0f}" if any(way.hashes) else ""
        table.add_row(
            name,
            f"{statistics.median(way.load):.0f}",
            hashes,
            f"{statistics.median(way.process):.0f}",
            _ratio(way, base, lambda way: way.load),
            _ratio(way, base, lambda way: way.process),
        )
    return table


def _ratio(way: Way, base: Way, of: Callable[[Way], list[float]]) -> str:
    """Of each round, for a machine that is busy for a while is so for all ways."""
    low, median, high = np.percentile([a / b for a, b in zip(of(way), of(base))], [25, 50, 75])
    return f"{median:.2f} ({low:.2f} … {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.bundles:
            found = ways(path, Path(folder))
            for _ in range(arguments.rounds):
                for way in found.values():
                    way.run()
            megabytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
            Console().print(show(f"{path.stem}, a bundle of {megabytes:.0f} MB", found))


if __name__ == "__main__":
    main()
