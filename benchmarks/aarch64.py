"""EdgeFuse on an aarch64 Debian, emulated on a Debian x86-64 machine: does it install, compile, and stay accurate?

    python benchmarks/aarch64.py [RECIPE] [--again]

A portable bundle is made here, finished and checked there, and tested there from here. Takes about a quarter of an
hour and Linux 6.7; what it needs and does is in benchmarks/aarch64/README.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from aarch64 import outcome, steps
from aarch64.system import System, make_system
from aarch64.wheels import CHECKOUT, install

from edgefuse.version import __version__

FOLDER = CHECKOUT / "build" / "aarch64"
RESULTS = CHECKOUT / "benchmarks" / "results"


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="recipes/digits", help="[recipes/digits]")
    parser.add_argument("--again", action="store_true", help="keep the root file system of the last run")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it is made [build/aarch64]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the outcome goes [benchmarks/results]")
    return parser.parse_args()


def main() -> int:
    options = read_options()
    folder = options.folder.resolve()
    system = System(folder) if options.again and System(folder).python.exists() else make_system(folder)
    facts: dict[str, Any] = {**system.facts(), "recipe": options.recipe, "edgefuse": edgefuse_version()}
    wheels = install(system, facts)
    done = run_all(system, options.recipe)
    found = outcome.as_json(facts, wheels, done)
    outcome.write(found, options.results / f"aarch64-{Path(options.recipe).name}")
    print(outcome.as_markdown(found))
    return 0 if found["ok"] else 1


def run_all(system: System, recipe: str) -> list[steps.Step]:
    """In order, as far as they make sense: without a finished bundle there is nothing to check."""
    done = [steps.compile_portable(system, recipe, "arm-cpu"), steps.doctor(system), steps.finish(system)]
    if done[-1].exit_code == 0:
        done += [step(system) for step in (steps.check, steps.run_once, steps.check_connected)]
        done.append(steps.pytest_connected(system, "pytest, to record", "--edgefuse-update-golden", "-k", "golden"))
        done.append(steps.pytest_connected(system, "pytest"))
    return done


def edgefuse_version() -> str:
    """With the commit, where it is a checkout."""
    asked = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return f"{__version__}, commit {told}" if told else __version__


if __name__ == "__main__":
    sys.exit(main())
