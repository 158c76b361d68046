"""A simulated table-top arm that moves a cube to a target, and the scripted expert that shows how (MuJoCo)."""

import os

os.environ.setdefault("MUJOCO_GL", "osmesa")  # renders without a display; read when mujoco is first imported
