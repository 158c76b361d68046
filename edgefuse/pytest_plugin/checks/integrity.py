"""Is the bundle whole, here and on the device? Every file's size and SHA-256."""

from __future__ import annotations

from edgefuse.pytest_plugin.case import Case
from edgefuse.pytest_plugin.outcome import Finding
from edgefuse.report.units import size_text


def run(case: Case) -> Finding:
    """Whoever opened *case* has verified every hash here; the device verifies those of what it was sent. Raises
    ``BundleError`` that names the file, ``DeviceMismatchError``."""
    case.ask("answers", {"start": 0, "count": 0}, "Opening the bundle")
    files = case.bundle.manifest["files"]
    size = sum(int(item["size_bytes"]) for item in files.values())
    figures = {"files": len(files), "size_bytes": size}
    summary = f"{len(files)} files, {size_text(size)}, as the manifest says; {case.samples} golden samples"
    return Finding("integrity", "pass", summary, figures, result={"samples": case.samples, **figures})
