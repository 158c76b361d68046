"""The report's pictures: matplotlib figures as SVG text to stand inside an HTML page. Workstation only."""

from edgefuse.report.pictures.accuracy import accuracy_picture
from edgefuse.report.pictures.candidates import candidates_picture
from edgefuse.report.pictures.latency import latency_picture
from edgefuse.report.pictures.replay import age_picture, staleness_picture, steps_picture

__all__ = [
    "accuracy_picture",
    "age_picture",
    "candidates_picture",
    "latency_picture",
    "staleness_picture",
    "steps_picture",
]
