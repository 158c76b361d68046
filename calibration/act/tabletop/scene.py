"""The arm, the table, the two cameras as a MuJoCo model, and what differs from episode to episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
HOME = np.array([0.0, -0.3, 1.5, 1.6, 0.0, 1.0])
OPEN, CLOSED = 1.0, 0.35  # the gripper's angle in rad; closed fits the cube
HEIGHT, WIDTH = 72, 96
CAMERAS = ("top", "wrist")
CUBE_HALF = 0.015
TIMESTEP_S = 0.004

# Lengths in m, angles in rad. At 0 all links point up; shoulder_lift, elbow_flex and wrist_flex tilt them forward (+x).
# Fingers do not collide: the hand holds the cube by a weld, as a magnet would. Gravity on the arm is compensated.
MJCF = f"""
<mujoco model="table-top arm">
  <compiler angle="radian"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast"/>
  <visual>
    <global offwidth="{WIDTH}" offheight="{HEIGHT}"/>
    <quality shadowsize="0" offsamples="0"/>
    <map znear="0.02"/>
    <headlight ambient="0.25 0.25 0.25" diffuse="0.3 0.3 0.3" specular="0 0 0"/>
  </visual>
  <default>
    <geom type="capsule" size="0.02" rgba="0.82 0.82 0.8 1" contype="0" conaffinity="0" mass="0.08"/>
    <joint type="hinge" axis="0 1 0" damping="0.6" armature="0.01"/>
    <position kp="40" kv="2" forcerange="-8 8"/>
  </default>
  <worldbody>
    <light name="lamp" pos="0.2 0 1.2" dir="0 0 -1" directional="true" diffuse="0.5 0.5 0.5" castshadow="false"/>
    <camera name="top" pos="0.17 0 0.75" xyaxes="0 -1 0 1 0 0" fovy="31"/>
    <geom name="table" type="plane" size="0.6 0.6 0.1" rgba="0.45 0.36 0.28 1" contype="1" conaffinity="1"/>
    <body name="target" mocap="true" pos="0.25 0.1 0.001">
      <geom name="target" type="cylinder" size="0.028 0.001" rgba="0.15 0.6 0.25 1"/>
    </body>
    <geom type="cylinder" pos="0 0 0.035" size="0.045 0.035" rgba="0.2 0.2 0.22 1"/>
    <body pos="0 0 0.07" gravcomp="1">
      <joint name="shoulder_pan" axis="0 0 1" range="-1.8 1.8"/>
      <geom type="cylinder" pos="0 0 0.02" size="0.035 0.02" rgba="0.9 0.55 0.1 1"/>
      <body pos="0 0 0.03" gravcomp="1">
        <joint name="shoulder_lift" range="-1.2 1.7"/>
        <geom fromto="0 0 0 0 0 0.18"/>
        <body pos="0 0 0.18" gravcomp="1">
          <joint name="elbow_flex" range="0 2.7"/>
          <geom fromto="0 0 0 0 0 0.18" size="0.017"/>
          <body pos="0 0 0.18" gravcomp="1">
            <joint name="wrist_flex" range="-0.5 2.6"/>
            <geom fromto="0 -0.015 0 0 0.015 0" rgba="0.9 0.55 0.1 1"/>
            <body name="hand" pos="0 0 0.03" gravcomp="1">
              <joint name="wrist_roll" axis="0 0 1" range="-1.8 1.8"/>
              <geom type="box" pos="0 0 0.015" size="0.02 0.025 0.015"/>
              <geom type="box" pos="0 -0.021 0.06" size="0.009 0.004 0.035" rgba="0.2 0.2 0.22 1"/>
              <site name="grip" pos="0 0 0.09" size="0.004" rgba="0 0 0 0"/>
              <camera name="wrist" pos="-0.06 0 -0.01" xyaxes="0 1 0 0.906 0 -0.423" fovy="65"/>
              <body pos="0 0.012 0.025" gravcomp="1">
                <joint name="gripper" axis="-1 0 0" range="0 1.2" damping="0.2"/>
                <geom type="box" pos="0 -0.015 0.035" size="0.009 0.004 0.035" rgba="0.9 0.55 0.1 1" mass="0.02"/>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
    <body name="cube" pos="0.25 -0.1 {CUBE_HALF}">
      <freejoint name="cube"/>
      <geom name="cube" type="box" size="{CUBE_HALF} {CUBE_HALF} {CUBE_HALF}" rgba="0.8 0.1 0.1 1" mass="0.03"
            friction="1 0.01 0.001" contype="1" conaffinity="1"/>
    </body>
  </worldbody>
  <equality><weld name="hold" body1="hand" body2="cube" active="false"/></equality>
  <actuator>{"".join(f'<position name="{name}" joint="{name}"/>' for name in JOINTS)}</actuator>
</mujoco>
"""


@dataclass(frozen=True)
class Layout:
    """Where things are and how they look. ``cube`` (x, y, yaw), ``target`` (x, y), ``start`` (6,) joint angles in rad;
    colours are RGB in 0..1, ``light`` the lamp's direction."""

    cube: tuple[float, float, float]
    target: tuple[float, float]
    start: Floats
    colours: dict[str, Floats]
    light: Floats
    brightness: float


def draw_layout(rng: np.random.Generator) -> Layout:
    """Cube and target at least 9 cm apart within the arm's reach, a start near home, and other colours and light."""
    cube = _place(rng)
    target = _place(rng)
    while np.hypot(*(cube - target)) < 0.09:
        target = _place(rng)
    colours = {
        "cube": np.array([0.8, 0.12, 0.12]),
        "target": np.array([0.15, 0.6, 0.25]),
        "table": np.array([0.45, 0.36, 0.28]),
    }
    return Layout(
        cube=(float(cube[0]), float(cube[1]), float(rng.uniform(-0.25, 0.25))),
        target=(float(target[0]), float(target[1])),
        start=HOME + rng.uniform(-0.12, 0.12, len(JOINTS)) * [1, 1, 1, 1, 1, 0],
        colours={name: np.clip(rgb + rng.uniform(-0.08, 0.08, 3), 0, 1) for name, rgb in colours.items()},
        light=np.array([*rng.uniform(-0.5, 0.5, 2), -1.0]),
        brightness=float(rng.uniform(0.35, 0.65)),
    )


def _place(rng: np.random.Generator) -> Floats:
    radius, angle = rng.uniform(0.17, 0.29), rng.uniform(-0.9, 0.9)
    return np.array([radius * np.cos(angle), radius * np.sin(angle)])
