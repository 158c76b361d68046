"""``edgefuse check`` on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefuse.bundle import open_bundle
from edgefuse.recheck import check_bundle
from edgefuse.recipe import Limit
from edgefuse.robustness.cases import Options
from edgefuse.spec import Array
from edgefuse.worker.desk import Desk
from edgefuse.worker.metrics import metrics_folder
from edgefuse.worker.wire import Answer


def run(desk: Desk, arguments: dict[str, Any], arrays: Mapping[str, Array]) -> Answer:
    """The report. ``bundle``; optional ``max_drop`` (value, relative), ``p90_ms``, ``metric`` (a file that was sent and
    its name), ``robustness`` (the options)."""
    limit, options = arguments.get("max_drop"), arguments.get("robustness")
    with open_bundle(desk.bundle(arguments["bundle"])) as bundle:
        report = check_bundle(
            bundle,
            desk.steps,
            max_drop=Limit(**limit) if limit else None,
            p90_ms=arguments.get("p90_ms"),
            metrics_folder=metrics_folder(desk, arguments.get("metric")),
            robustness=_options(options) if options else None,
        )
    return Answer(report)


def _options(given: dict[str, Any]) -> Options:
    return Options(given["samples"], tuple(given["modalities"]), tuple(given["severities"]), given["seed"])
