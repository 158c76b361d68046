"""What the networks of :mod:`fusion_models` learn: samples of all sensors and targets that need every one of them.

Each draws *count* samples: inputs and targets by output, each (count, …). Numpy only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgefuse.spec import Array
from peers import sensors

Drawn = tuple[dict[str, Array], dict[str, Array]]
Draw = Callable[[int, np.random.Generator], Drawn]


def draw_camera_lidar_imu(count: int, generator: np.random.Generator) -> Drawn:
    """Velocity: slow before the nearest object (LiDAR), towards the target (camera), against the turning (IMU)."""
    scenes = sensors.make_scenes(count, generator)
    imu, driven = sensors.imu(count, 100, 200.0, generator)
    inputs = {
        "camera": sensors.camera(scenes, (160, 160), generator),
        "lidar": sensors.lidar_bev(scenes, 128, generator),
        "imu": imu,
    }
    nearest = scenes.place[np.arange(count), scenes.place[:, :, 0].argmin(1)]
    seen = scenes.place[:, 0, 1:] / scenes.place[:, 0, :1]
    columns = (nearest[:, 0] / 2 - 2.5, nearest[:, 1] / 1.2, 7 * seen[:, 1], -2 * driven[:, 0], -2 * driven[:, 1])
    return inputs, {"velocity": np.stack([*columns, 4 * seen[:, 0]], -1).astype(np.float32)}


def draw_camera_lidar_imu_audio(count: int, generator: np.random.Generator) -> Drawn:
    """The same velocity, and the sound says how fast to go forward."""
    inputs, targets = draw_camera_lidar_imu(count, generator)
    sounds = generator.integers(0, sensors.SOUNDS, count)
    targets["velocity"][:, 0] += 1.2 * sounds - 1.8
    return {**inputs, "audio": sensors.log_mel(sounds, 40, 100, generator)}, targets


def draw_two_cameras(count: int, generator: np.random.Generator) -> Drawn:
    """Actions: joints approach, step by step, a fixed linear function of where the target is."""
    scenes = sensors.make_scenes(count, generator)
    joints = generator.uniform(-1.2, 1.2, (count, 14))
    views = {
        name: sensors.camera(scenes, (120, 160), generator, shift) for name, shift in (("left", 0.3), ("right", -0.3))
    }
    forward, left, up = scenes.place[:, 0].T
    where = np.stack([(forward - 6.5) / 2, 4 * left / forward, 7 * up / forward], -1)
    goal = where @ np.random.default_rng(7).normal(0, 0.7, (3, 14))
    done = 1 - np.exp(-(np.arange(16) + 1) / 5)[None, :, None]
    actions = joints[:, None] * (1 - done) + goal[:, None] * done
    return {**views, "joints": joints.astype(np.float32)}, {"actions": actions.astype(np.float32)}


def draw_audio_image(count: int, generator: np.random.Generator) -> Drawn:
    """One of 12 classes: which of four sounds, and which of three colours the target has."""
    scenes, sounds = sensors.make_scenes(count, generator), generator.integers(0, sensors.SOUNDS, count)
    inputs = {
        "audio": sensors.log_mel(sounds, 80, 200, generator),
        "image": sensors.camera(scenes, (128, 128), generator),
    }
    return inputs, {"logits": (3 * sounds + scenes.palette).astype(np.int64)}


def draw_camera_gru(count: int, generator: np.random.Generator) -> Drawn:
    """Pose: where the target is, and how the body moves and stands; contact: which of three arms is the most bent."""
    scenes = sensors.make_scenes(count, generator)
    imu, driven = sensors.imu(count, 50, 100.0, generator)
    joints = generator.uniform(-1.2, 1.2, (count, 1, 10)) + 0.02 * generator.normal(size=(count, 50, 10)).cumsum(1)
    state = np.concatenate([imu, joints], -1).astype(np.float32)
    forward, left, up = scenes.place[:, 0].T
    pose = ((forward - 6.5) / 2, 4 * left / forward, 7 * up / forward, *(2 * driven[:, :2].T), joints[:, -1, 0])
    bent = joints[:, -1, 1:].reshape(count, 3, 3).sum(-1).argmax(-1)
    inputs = {"camera": sensors.camera(scenes, (192, 192), generator), "state": state}
    return inputs, {"pose": np.stack(pose, -1).astype(np.float32), "contact": bent.astype(np.int64)}
