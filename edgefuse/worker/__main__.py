"""``python -m edgefuse.worker``: frames on standard input and output, until the other end is gone."""

import os
import sys

if sys.path and sys.path[0] == os.getcwd():  # the user's home: a json.py there is not for us
    del sys.path[0]

from edgefuse.worker.service import main

main()
