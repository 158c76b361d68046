"""A rover in MuJoCo: its arena, its driver and its sensors. Needs mujoco and, for the camera, OSMesa (libosmesa6)."""
