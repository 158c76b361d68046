"""``python -m edgefuse``."""

from edgefuse.cli import main

main()
