"""Sensors that deliver at their own rates, and a model that answers when it is asked: ``model.stream()``. What runs on
a robot: standard library and numpy only. ``docs/streaming.md`` is the user's page.
"""

from edgefuse.stream.policy import StreamPolicy
from edgefuse.stream.results import Pushed, StepResult, StreamState
from edgefuse.stream.session import Session

__all__ = ["Pushed", "Session", "StepResult", "StreamPolicy", "StreamState"]
