"""``edgefuse compile BUNDLE`` on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgefuse.bundle import open_bundle
from edgefuse.recipe import Limit
from edgefuse.recompile import Rerun, compile_bundle
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.metrics import metrics_folder
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The ``report``, and the ``key`` by which the bundle is fetched. ``bundle``; optional ``shown`` (what its
    user calls it), ``target``, ``precision``, ``max_drop``, ``p90_ms``, ``budget_s``, ``metric``."""
    limit, budget_s = arguments.get("max_drop"), arguments.get("budget_s")
    out = desk.new_folder() / "bundle.edgefuse"
    asked = Rerun(
        out=out,
        target=arguments.get("target"),
        precision=arguments.get("precision", "auto"),
        max_drop=Limit(**limit) if limit else None,
        p90_ms=arguments.get("p90_ms"),
        budget_s=math.inf if budget_s is None else float(budget_s),
        metrics_folder=metrics_folder(desk, arguments.get("metric")),
    )
    with open_bundle(desk.bundle(arguments["bundle"])) as bundle:
        bundle = replace(bundle, shown=Path(arguments.get("shown", bundle.shown)))
        report = compile_bundle(bundle, asked, desk.steps)
    return Answer({"report": report, "key": desk.key(out)})
