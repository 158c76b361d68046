"""``edgefuse bench``: is this bundle slower, or less accurate, than that one, or than it used to be? docs/bench.md.

Device side: numpy and one vendor library. The comparison with a history (:mod:`edgefuse.bench.recorded`) is made where
the history lies, from a report that was made here.
"""

from edgefuse.bench.compare import Options, bench_bundles

__all__ = ["Options", "bench_bundles"]
