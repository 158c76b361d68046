"""A walled arena with rough ground, obstacles and coloured pillars, all from a seed, as a MuJoCo model."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COLOURS = {"red": (0.85, 0.08, 0.08), "green": (0.1, 0.65, 0.15), "blue": (0.1, 0.2, 0.85), "yellow": (0.9, 0.8, 0.1)}
PILLAR_RADIUS, PILLAR_HEIGHT = 0.2, 1.2
WALL_HEIGHT, WALL_THICKNESS = 0.7, 0.1
GAP = 1.0  # metres that stay free between two things, so that the rover (0.5 m wide) passes
GRID_M, ROUGHNESS_M = 0.12, 0.004  # the ground's grid, and how high its highest point is over the lowest
DARK = 0.25  # share of the obstacles that reflect little of a laser's light
ROVER = 3
"""The group of the rover's own geoms, which rays and the camera pass by."""


@dataclass(frozen=True)
class Obstacle:
    """A box or a cylinder on the ground; *size* is half of its extent along x, y and z, of a cylinder the radius
    twice. A low one lies under the plane of the LiDAR. A *dark* one often returns no echo."""

    kind: str
    place: tuple[float, float]
    yaw: float
    size: tuple[float, float, float]
    colour: tuple[float, float, float]
    dark: bool


@dataclass(frozen=True)
class Arena:
    """*half* is half of a wall's length in metres; *pillars* colour to (x, y); *start* is (x, y, yaw)."""

    half: float
    obstacles: tuple[Obstacle, ...]
    pillars: dict[str, tuple[float, float]]
    start: tuple[float, float, float]
    ground: Floats
    floor: tuple[float, float, float]
    wall: tuple[float, float, float]
    sun: tuple[float, float, float]
    brightness: float


def make_arena(rng: np.random.Generator) -> Arena:
    """Another arena for each state of *rng*."""
    half = float(rng.uniform(3.8, 5.8))
    taken: list[tuple[float, float, float]] = []
    start = (*_free_place(rng, half - 0.8, 0.5, taken), float(rng.uniform(-np.pi, np.pi)))
    pillars = {colour: _free_place(rng, half - 0.9, PILLAR_RADIUS, taken) for colour in COLOURS}
    obstacles = tuple(_make_obstacle(rng, half, taken) for _ in range(int(rng.integers(8, 15))))
    cells = int(2 * half / GRID_M)
    grey, tint = rng.uniform(0.3, 0.6), rng.uniform(-0.06, 0.06, 3)
    return Arena(
        half=half,
        obstacles=obstacles,
        pillars=pillars,
        start=start,
        ground=rng.random((cells, cells)),
        floor=_rgb(grey + tint),
        wall=_rgb(rng.uniform(0.35, 0.8) + rng.uniform(-0.08, 0.08, 3)),
        sun=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)), -1.5),
        brightness=float(rng.uniform(0.35, 0.65)),
    )


def _rgb(values: Floats) -> tuple[float, float, float]:
    red, green, blue = np.clip(values, 0.0, 1.0).tolist()
    return red, green, blue


def _free_place(
    rng: np.random.Generator, half: float, radius: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """A place with room around it, which is then *taken*; where the arena is full, one with as much as there is."""
    for attempt in range(400):
        x, y = rng.uniform(-half, half, 2).tolist()
        gap = GAP * (1.0 - attempt / 400)
        if all(np.hypot(x - tx, y - ty) > radius + tr + gap for tx, ty, tr in taken):
            break
    taken.append((x, y, radius))
    return x, y


def _make_obstacle(rng: np.random.Generator, half: float, taken: list[tuple[float, float, float]]) -> Obstacle:
    kind = "box" if rng.random() < 0.65 else "cylinder"
    low, dark = rng.random() < 0.35, rng.random() < DARK
    height = rng.uniform(0.06, 0.10) if low else rng.uniform(0.2, 0.5)
    width, depth = rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.5)
    size = (width, depth, height) if kind == "box" else (width, width, height)
    radius = float(np.hypot(width, depth)) if kind == "box" else float(width)
    shade = rng.uniform(0.03, 0.12) if dark else rng.uniform(0.3, 0.85)
    colour = _rgb(shade + rng.uniform(-0.12, 0.12, 3) * (0.2 if dark else 1.0))
    place = _free_place(rng, half - radius - 0.1, radius, taken)
    return Obstacle(kind, place, float(rng.uniform(-np.pi, np.pi)), size, colour, dark)


def make_model(arena: Arena) -> mujoco.MjModel:
    """The arena with the rover in it, compiled."""
    model = mujoco.MjModel.from_xml_string(_to_xml(arena))
    model.hfield_data[:] = arena.ground.reshape(-1)
    return model


def _to_xml(arena: Arena) -> str:
    half, cells = arena.half, arena.ground.shape[0]
    sun = " ".join(f"{value:.4f}" for value in arena.sun)
    lit = arena.brightness
    return f"""
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.0025" integrator="implicitfast" cone="elliptic"/>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <headlight ambient="{lit} {lit} {lit}" diffuse="0.15 0.15 0.15" specular="0 0 0"/>
    <map znear="0.004" zfar="4"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.6 0.7 0.8" rgb2="0.8 0.8 0.8" width="16" height="96"/>
    <hfield name="ground" nrow="{cells}" ncol="{cells}" size="{half} {half} {ROUGHNESS_M} 0.05"/>
  </asset>
  <worldbody>
    <light directional="true" dir="{sun}" diffuse="{lit} {lit} {lit}" specular="0 0 0" castshadow="false"/>
    <geom type="hfield" hfield="ground" rgba="{_values(arena.floor)} 1" friction="0.9 0.005 0.0001"/>
    {_walls(arena)}
    {"".join(_pillar(name, place) for name, place in arena.pillars.items())}
    {"".join(_obstacle(item) for item in arena.obstacles)}
    {_rover(arena.start)}
  </worldbody>
  <actuator>
    {"".join(f'<velocity joint="{name}" kv="3" forcerange="-7 7"/>' for name in WHEELS)}
  </actuator>
  <sensor><accelerometer site="imu"/><gyro site="imu"/></sensor>
</mujoco>"""


def _values(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _walls(arena: Arena) -> str:
    half, thick, high = arena.half, WALL_THICKNESS, WALL_HEIGHT / 2
    sides = ((half, 0, thick, half), (-half, 0, thick, half), (0, half, half, thick), (0, -half, half, thick))
    return "".join(
        f'<geom type="box" pos="{_values((x, y, high))}" size="{_values((width, depth, high))}"'
        f' rgba="{_values(arena.wall)} 1"/>'
        for x, y, width, depth in sides
    )


def _pillar(name: str, place: tuple[float, float]) -> str:
    size = f"{PILLAR_RADIUS} {PILLAR_HEIGHT / 2}"
    position, colour = f"{_values(place)} {PILLAR_HEIGHT / 2}", _values(COLOURS[name])
    return f'<geom name="{name}" type="cylinder" pos="{position}" size="{size}" rgba="{colour} 1"/>'


def _obstacle(item: Obstacle) -> str:
    size = item.size if item.kind == "box" else item.size[1:]
    group = f'type="{item.kind}" pos="{_values(item.place)} {item.size[2]:.4f}" euler="0 0 {item.yaw:.4f}"'
    name = 'name="{}"'.format(f"dark {item.place}") if item.dark else ""
    return f'<geom {name} {group} size="{_values(size)}" rgba="{_values(item.colour)} 1"/>'


WHEELS = ("front_left", "front_right", "rear_left", "rear_right")
WHEEL_RADIUS = 0.1
LUGS, LUG = 12, 0.004  # on a tyre, and their height in metres: what an IMU can tell the speed by
RUBBER = f'group="{ROVER}" friction="0.9 0.005 0.0001" solref="0.03 1" rgba="0.1 0.1 0.1 1"'
AXLE, TRACK = 0.13, 0.21  # half of the distance between the axles, and between left and right wheels
FRONT = 0.26  # metres from the rover's middle to its bumper
LIDAR_HEIGHT = 0.18  # over the rover's middle, which is 0.14 over the ground


def _rover(start: tuple[float, float, float]) -> str:
    x, y, yaw = start
    angles = np.linspace(0, 2 * np.pi, LUGS, endpoint=False)
    rim = WHEEL_RADIUS - LUG
    lugs = "".join(
        f'<geom type="capsule" size="{LUG} 0.02" pos="{rim * np.cos(angle):.5f} 0 {rim * np.sin(angle):.5f}"'
        f' euler="1.5708 0 0" mass="0.01" {RUBBER}/>'
        for angle in angles
    )
    wheels = "".join(
        f'<body name="{name}" pos="{forward * AXLE} {left * TRACK} -0.04">'
        f'<joint name="{name}" type="hinge" axis="0 1 0" damping="0.02"/>'
        f'<geom type="cylinder" size="{WHEEL_RADIUS - LUG} 0.03" euler="1.5708 0 0" mass="0.4" {RUBBER}/>{lugs}</body>'
        for name, forward, left in zip(WHEELS, (1, 1, -1, -1), (1, -1, 1, -1))
    )
    return f"""
    <body name="rover" pos="{x:.4f} {y:.4f} 0.17" euler="0 0 {yaw:.4f}">
      <freejoint/>
      <geom type="box" size="0.24 0.15 0.06" mass="9" group="{ROVER}" rgba="0.9 0.5 0.1 1"/>
      <site name="imu"/>
      <site name="lidar" pos="0 0 {LIDAR_HEIGHT}"/>
      <camera name="camera" pos="0.22 0 0.2" xyaxes="0 -1 0 0.2 0 1" fovy="58"/>
      {wheels}
    </body>"""
