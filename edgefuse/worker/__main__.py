"""``python -m edgefuse.worker``: frames on standard input and output, until the other end is gone."""

from edgefuse.worker.service import main

main()
