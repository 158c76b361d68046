"""EdgeFuse: multi-sensor fusion models, compiled for edge devices, with proof that they are still accurate.

Importing this pulls in the standard library and numpy only; ``edgefuse.load`` imports the bundle's one vendor library.
"""

from edgefuse.errors import EdgeFuseError
from edgefuse.model import Model
from edgefuse.runtime import load
from edgefuse.version import __version__

__all__ = ["EdgeFuseError", "Model", "__version__", "load"]
