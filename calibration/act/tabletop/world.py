"""The simulated arm in motion: commands in, joint angles and camera images out."""

from __future__ import annotations

from functools import cached_property

import mujoco
import numpy as np
import numpy.typing as npt

from tabletop.scene import CAMERAS, CUBE_HALF, HEIGHT, JOINTS, MJCF, TIMESTEP_S, WIDTH, Floats, Layout

FPS = 25
SUBSTEPS = round(1 / FPS / TIMESTEP_S)
GRASP_M, GRASP_RAD, RELEASE_RAD = 0.022, 0.5, 0.65
"""The cube is held from when the gripper is closed this far with the cube this near, until it is opened so far."""
SUCCESS_M = 0.025


class World:
    """One arm, to be reset for each episode. Angles in rad, lengths in m."""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(MJCF)
        self.data = mujoco.MjData(self.model)
        self.places = np.array([self.model.joint(name).qposadr[0] for name in JOINTS])
        self.hold = self.model.equality("hold").id
        self.layout: Layout

    def reset(self, layout: Layout) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.layout = layout
        self.data.qpos[self.places] = self.data.ctrl[:] = layout.start
        x, y, yaw = layout.cube
        self.data.joint("cube").qpos = [x, y, CUBE_HALF, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        self.data.mocap_pos[0] = [*layout.target, 0.001]
        for name, rgb in layout.colours.items():
            self.model.geom(name).rgba[:3] = rgb
        self.model.light("lamp").dir[:] = layout.light / np.linalg.norm(layout.light)
        self.model.light("lamp").diffuse[:] = layout.brightness
        mujoco.mj_forward(self.model, self.data)

    def step(self, command: Floats) -> None:
        """Hold *command* (6,) joint angles for one frame, 1 / FPS."""
        self.data.ctrl[:] = np.clip(command, *self.model.jnt_range[: len(JOINTS)].T)
        mujoco.mj_step(self.model, self.data, SUBSTEPS)
        mujoco.mj_forward(self.model, self.data)
        jaw = self.state[-1]
        if not self.held and jaw < GRASP_RAD and np.linalg.norm(self.grip - self.cube) < GRASP_M:
            self._attach()
        elif self.held and jaw > RELEASE_RAD:
            self.data.eq_active[self.hold] = 0

    @property
    def state(self) -> Floats:
        """(6,) joint angles."""
        found: Floats = self.data.qpos[self.places].copy()
        return found

    @property
    def grip(self) -> Floats:
        """(3,) the middle between the fingertips."""
        found: Floats = self.data.site("grip").xpos.copy()
        return found

    @property
    def cube(self) -> Floats:
        found: Floats = self.data.body("cube").xpos.copy()
        return found

    @property
    def held(self) -> bool:
        return bool(self.data.eq_active[self.hold])

    @property
    def success(self) -> bool:
        """The cube lies on the target, and the hand has let go."""
        away = np.hypot(*(self.cube[:2] - self.layout.target))
        return bool(away < SUCCESS_M and self.cube[2] < 2 * CUBE_HALF and not self.held)

    def images(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Camera name to (72, 96, 3) uint8 RGB."""
        return {name: self._render(name) for name in CAMERAS}

    def close(self) -> None:
        """Give back what the renderer holds."""
        if "renderer" in self.__dict__:
            self.renderer.close()

    @cached_property
    def renderer(self) -> mujoco.Renderer:
        """Made when the first image is asked for: what needs none runs without OSMesa."""
        return mujoco.Renderer(self.model, HEIGHT, WIDTH)

    def _render(self, camera: str) -> npt.NDArray[np.uint8]:
        self.renderer.update_scene(self.data, camera)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self.renderer.scene.flags[flag] = 0
        found: npt.NDArray[np.uint8] = self.renderer.render()
        return found

    def _attach(self) -> None:
        """Weld the cube to the hand: in the middle between the fingertips, turned as it is."""
        hand, cube = self.data.body("hand"), self.data.body("cube")
        back, turn = np.zeros(4), np.zeros(4)
        mujoco.mju_negQuat(back, hand.xquat)
        mujoco.mju_mulQuat(turn, back, cube.xquat)
        self.model.eq_data[self.hold][:10] = [0, 0, 0, *self.model.site("grip").pos, *turn]
        self.data.eq_active[self.hold] = 1
