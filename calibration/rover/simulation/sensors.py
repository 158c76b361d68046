"""The rover's sensors, and what it really does. Each is read at one instant of the simulation."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from simulation.arena import FRONT, LIDAR_HEIGHT, ROVER

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 48, 64
SENSOR_NOISE = 3.0  # standard deviation of a pixel, of 255
BEAMS, RANGE_MIN, RANGE_MAX = 180, 0.1, 8.0
RANGE_NOISE = (0.015, 0.004)  # metres, and as a share of the distance
NO_ECHO, NO_ECHO_DARK = 0.01, 0.7  # share of beams without an echo: of anything, of dark things
IMU_SATURATION = (39.2, 8.7)  # 4 g and 500 degrees per second
IMU_STEP = (2.0**-9, 2.0**-12)  # of a 16-bit converter
ACCELERATION_NOISE, TURN_NOISE = 0.08, 0.015  # m/s^2 and rad/s, standard deviations
ACCELERATION_BIAS, TURN_BIAS = 0.08, 0.02
CLEARANCE_MAX = 5.0
CORRIDOR = np.linspace(-0.27, 0.27, 7)  # metres to the left: where the rays run that measure the clearance
SCENERY_ONLY = np.array([group != ROVER for group in range(6)], dtype=np.uint8)
LOW = -0.09  # metres from the rover's middle: 5 cm over the ground


class World:
    """The simulated rover: MuJoCo's model and state, and rays into it."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self.body = model.body("rover").id
        names = (model.geom(index).name for index in range(model.ngeom))
        self.dark = np.array([name.startswith("dark") for name in names])
        mujoco.mj_forward(model, self.data)

    @property
    def place(self) -> Floats:
        """(x, y, z) in the arena."""
        found: Floats = self.data.xpos[self.body]
        return found

    @property
    def axes(self) -> Floats:
        """(3, 3); its columns are forward, left and up."""
        found: Floats = self.data.xmat[self.body].reshape(3, 3)
        return found

    @property
    def yaw(self) -> float:
        return float(np.arctan2(self.axes[1, 0], self.axes[0, 0]))

    def motion(self) -> tuple[float, float]:
        """Forward velocity in m/s and yaw rate in rad/s, as of now."""
        return float(self.axes[:, 0] @ self.data.qvel[:3]), float(self.data.qvel[5])

    def cast(self, origin: Floats, directions: Floats) -> tuple[Floats, npt.NDArray[np.int32]]:
        """Distances (n,), infinite where nothing is hit, and the hit geoms (n,), of rays from one point."""
        count = len(directions)
        distance, geom = np.zeros(count), np.zeros(count, np.int32)
        rays = np.ascontiguousarray(directions, np.float64).reshape(-1)
        mujoco.mj_multiRay(
            self.model, self.data, origin, rays, SCENERY_ONLY, True, self.body, geom, distance, None, count, 50.0
        )
        return np.where(distance < 0, np.inf, distance), geom

    def clearance(self) -> float:
        """Metres that are free ahead of the bumper, in a corridor as wide as the rover and a little more, at most
        ``CLEARANCE_MAX``; of what stands on the ground, low or high."""
        forward = np.array([np.cos(self.yaw), np.sin(self.yaw), 0.0])
        left, nearest = np.array([-forward[1], forward[0], 0.0]), CLEARANCE_MAX + FRONT
        for height in (LOW, LIDAR_HEIGHT):
            for aside in CORRIDOR:
                origin = self.place + left * aside + np.array([0.0, 0.0, height])
                nearest = min(nearest, float(self.cast(origin, forward[None])[0][0]))
        return max(nearest - FRONT, 0.0)

    def surroundings(self) -> Floats:
        """(n, 2) points of things within 4 m, metres ahead and to the left: what the driver goes by. It sees low
        things as well, and without noise."""
        angles = np.linspace(-np.pi, np.pi, 120, endpoint=False)
        headings = angles + self.yaw
        directions = np.stack([np.cos(headings), np.sin(headings), np.zeros_like(angles)], axis=1)
        found = []
        for height in (LOW, LIDAR_HEIGHT):
            distance, _ = self.cast(self.place + np.array([0.0, 0.0, height]), directions)
            near = distance < 4.0
            found.append(distance[near, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)[near])
        return np.concatenate(found)


class Camera:
    """RGB pictures (48, 64, 3) uint8 from the front of the rover, looking a little down."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._exposure = float(rng.uniform(0.8, 1.2))
        self._renderer = mujoco.Renderer(world.model, HEIGHT, WIDTH)
        for flag in ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_HAZE"):
            self._renderer.scene.flags[getattr(mujoco.mjtRndFlag, flag)] = 0

    def read(self) -> Pixels:
        self._renderer.update_scene(self._world.data, "camera")
        seen = self._renderer.render() * self._exposure + self._rng.normal(0.0, SENSOR_NOISE, (HEIGHT, WIDTH, 3))
        return np.clip(np.round(seen), 0, 255).astype(np.uint8)

    def close(self) -> None:
        self._renderer.close()


class Lidar:
    """Ranges (180,) float32 in metres, one every two degrees from behind over the right, ahead and the left; infinite
    where no echo came back."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        angles = -np.pi + 2 * np.pi / BEAMS * np.arange(BEAMS)
        self._beams = np.stack([np.cos(angles), np.sin(angles), np.zeros(BEAMS)], axis=1)
        self._site = world.model.site("lidar").id

    def read(self) -> npt.NDArray[np.float32]:
        distance, geom = self._world.cast(self._world.data.site_xpos[self._site], self._beams @ self._world.axes.T)
        finite = np.where(np.isfinite(distance), distance, 0.0)
        noise = RANGE_NOISE[0] + RANGE_NOISE[1] * finite
        measured = distance + noise * self._rng.standard_normal(BEAMS)
        lost = self._rng.random(BEAMS) < np.where(self._world.dark[geom], NO_ECHO_DARK, NO_ECHO)
        unseen = lost | (distance > RANGE_MAX) | (distance < RANGE_MIN)
        return np.where(unseen, np.inf, np.round(measured, 3)).astype(np.float32)


class Imu:
    """(6,) float64: rates of turn about x, y, z in rad/s, then accelerations along them in m/s^2, with a bias that
    stays for the drive, noise, saturation and the steps of a converter."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._bias = np.repeat([TURN_BIAS, ACCELERATION_BIAS], 3) * rng.standard_normal(6)
        self._noise = np.repeat([TURN_NOISE, ACCELERATION_NOISE], 3)
        self._limit, self._step = np.repeat(IMU_SATURATION[::-1], 3), np.repeat(IMU_STEP[::-1], 3)

    def read(self) -> Floats:
        sensed = self._world.data.sensordata
        exact = np.concatenate([sensed[3:6], sensed[:3]])
        measured = exact + self._bias + self._noise * self._rng.standard_normal(6)
        steps: Floats = np.round(np.clip(measured, -self._limit, self._limit) / self._step) * self._step
        return steps
