"""EdgeFuse against what a user would pick instead, on this CPU: speed, fidelity, build time, memory, in one run.

    python benchmarks/peers.py [MODEL …] [--arms ARM …] [--quick] [--markdown FILE]
    python benchmarks/peers.py --memory [MODEL]

Every arm gets the same float model, ONNX graph, calibration and held-out samples, is built in a process of its own and
runs in another one, with its library's defaults for threads; numpy arrays go in and come out. Latency is taken in
turns, in a fresh random order each round. What each arm is exactly stands in ``benchmarks/peers/``.

Workers import this file: it must not import a vendor library.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from peers.arms import ARMS, BASE, OURS
from peers.case import GENERATED, digits_recipes
from peers.contest import Options, run_contest
from peers.memory import COUNTS, memory_table
from peers.tables import Paper, machine, model_table, sentences, summary_tables

CACHE = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
RACE_S, QUICK_RACE_S = 40.0, 8.0
BUILD_S, QUICK_BUILD_S = 1800.0, 300.0


def read_options() -> argparse.Namespace:
    known = [*digits_recipes(), *GENERATED]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(known)}")
    parser.add_argument("--arms", nargs="+", choices=ARMS, metavar="ARM", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RACE_S:g} s a race, {QUICK_BUILD_S:g} s a tool")
    parser.add_argument("--race-s", type=float, help=f"seconds of racing for a model [{RACE_S:g}]")
    parser.add_argument("--build-s", type=float, help=f"seconds after which a tool is given up [{BUILD_S:g}]")
    parser.add_argument("--reuse", action="store_true", help="race artifacts that an earlier run has made")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where models, samples and artifacts are kept")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--memory", action="store_true", help="instead: `edgefuse compile` with few and many samples")
    parser.add_argument("--samples", type=int, nargs="+", default=COUNTS, help="for --memory [64 4096]")
    options = parser.parse_args()
    unknown = [name for name in options.models if name not in known]
    if unknown:
        parser.error(f"there is no model {unknown[0]!r}; known: {', '.join(known)}")
    options.models = options.models or (GENERATED[:1] if options.memory else known)
    return options


def compare(given: argparse.Namespace, paper: Paper) -> None:
    arms = tuple(name for name in ARMS if name in (given.arms or ARMS) or name in (BASE, OURS))
    race_s = given.race_s or (QUICK_RACE_S if given.quick else RACE_S)
    build_s = given.build_s or (QUICK_BUILD_S if given.quick else BUILD_S)
    options, results, started = Options(arms, race_s, build_s, given.cache, given.reuse), [], time.perf_counter()
    for name in given.models:
        result = run_contest(name, options, say)
        results.append(result)
        paper.put(f"**{name}**", model_table(result, arms), *sentences(result))
    paper.put(*summary_tables(results, arms), f"{(time.perf_counter() - started) / 60:.0f} minutes in all.")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    options = read_options()
    paper = Paper(options.markdown)
    paper.put(machine())
    if options.memory:
        paper.put(*[memory_table(name, options.cache, options.samples) for name in options.models])
    else:
        compare(options, paper)


if __name__ == "__main__":
    main()
