"""The scripted expert: it knows where cube and target are, and moves the arm by inverse kinematics."""

from __future__ import annotations

import mujoco
import numpy as np

from tabletop.scene import CLOSED, CUBE_HALF, HOME, OPEN, Floats
from tabletop.world import World

ARM = 5  # joints without the gripper
DAMPING = 0.02
OVER_M, CLEAR_M = 0.065, 0.003
GRASPING = 2  # the stage that lasts until the cube is held
GAIN, MOST_RAD, MOST_JAW_RAD = 0.55, 0.16, 0.3  # per frame
NEAR_RAD, EXACT_RAD = 0.12, 0.03


class Expert:
    """Moves from waypoint to waypoint. A command depends on the waypoint and the measured joints alone, so that it also
    says how to get back from where a disturbance has pushed the arm."""

    def __init__(self, world: World) -> None:
        self.world, self.scratch = world, mujoco.MjData(world.model)
        cube = world.cube + np.array([0, 0, CLEAR_M])
        target = np.array([*world.layout.target, CUBE_HALF + CLEAR_M])
        up = np.array([0, 0, OVER_M])
        stops = [(cube + up, OPEN, NEAR_RAD), (cube, OPEN, EXACT_RAD), (cube, CLOSED, EXACT_RAD)]
        stops += [(cube + up, CLOSED, NEAR_RAD), (target + up, CLOSED, NEAR_RAD), (target, CLOSED, EXACT_RAD)]
        stops += [(target, OPEN, EXACT_RAD), (target + up, OPEN, NEAR_RAD)]
        joints, self.waypoints = world.state, list[tuple[Floats, float]]()
        for place, jaw, near in stops:
            joints = self._solve(place, joints)
            self.waypoints.append((np.array([*joints[:ARM], jaw]), near))
        self.waypoints.append((HOME, NEAR_RAD))
        self.stage = 0

    @property
    def finished(self) -> bool:
        return self.stage == len(self.waypoints)

    def command(self) -> Floats:
        """(6,) joint angles for the next frame."""
        joints = self.world.state
        while not self.finished and self._arrived(joints):
            self.stage += 1
        goal = self.waypoints[min(self.stage, len(self.waypoints) - 1)][0]
        most = np.array([MOST_RAD] * ARM + [MOST_JAW_RAD])
        found: Floats = joints + np.clip(GAIN * (goal - joints), -most, most)
        found[ARM] = joints[ARM] + np.clip(goal[ARM] - joints[ARM], -MOST_JAW_RAD, MOST_JAW_RAD)
        return found

    def _arrived(self, joints: Floats) -> bool:
        goal, near = self.waypoints[self.stage]
        if self.stage == GRASPING:
            return self.world.held
        return bool(np.abs(goal - joints)[:ARM].max() < near and abs(goal[ARM] - joints[ARM]) < 0.1)

    def _solve(self, place: Floats, start: Floats) -> Floats:
        """(6,) joint angles with the fingertips at *place*, the hand pointing down and its sides along x and y.

        Damped least squares, dq = J^T (J J^T + lambda^2 I)^-1 e (Wampler 1986; Nakamura and Hanafusa 1986), on the
        error of the place and the rotation from the hand's axes to the wanted ones.
        """
        model, data, world = self.world.model, self.scratch, self.world
        data.qpos[:] = world.data.qpos
        data.qpos[world.places] = start
        hand, wanted = model.body("hand").id, np.diag([-1.0, 1.0, -1.0])
        moves, turns = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        columns = [model.joint(name).dofadr[0] for name in ARM_JOINTS]
        for _ in range(100):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            axes = data.xmat[hand].reshape(3, 3)
            tilt = 0.5 * sum(np.cross(axes[:, i], wanted[:, i]) for i in range(3))
            error = np.concatenate((place - data.site("grip").xpos, 0.2 * tilt))
            mujoco.mj_jacSite(model, data, moves, turns, model.site("grip").id)
            jacobian = np.concatenate((moves[:, columns], 0.2 * turns[:, columns]))
            square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
            data.qpos[world.places[:ARM]] += jacobian.T @ np.linalg.solve(square, error)
        found: Floats = data.qpos[world.places].copy()
        return found


ARM_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
