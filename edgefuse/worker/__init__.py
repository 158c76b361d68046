"""The device's end of a connection: ``python -m edgefuse.worker``. Numpy; the jobs one vendor library.

:mod:`edgefuse.remote` is the other end. Two processes: the worker (:mod:`edgefuse.worker.service`) reads requests,
keeps files and the device's lock, and cannot crash; the executor (:mod:`edgefuse.worker.executor`) does the jobs, and
may.
"""
