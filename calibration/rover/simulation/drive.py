"""One drive: what each sensor delivered, when it was acquired and when it arrived."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

os.environ.setdefault("MUJOCO_GL", "osmesa")  # before mujoco is imported

import mujoco
import numpy as np

from simulation.arena import TRACK, WHEEL_RADIUS, make_arena, make_model
from simulation.driver import Driver, Seen
from simulation.sensors import Camera, Imu, Lidar, World

WARM_UP_S = 1.0  # the rover settles on the ground
TURN_GAIN, TURN_TRIM = 1.6, 2.5  # wheels that skid turn the rover by less than they should
JITTER = 0.05  # standard deviation of an acquisition around its period, as a share of it


@dataclass(frozen=True)
class Link:
    """How a sensor's data come in: rate, transport delay (mean and standard deviation) and the share that is lost."""

    rate_hz: float
    delay_s: tuple[float, float]
    lost: float


LINKS = {
    "camera": Link(30.0, (0.025, 0.005), 0.015),
    "scan": Link(10.0, (0.018, 0.004), 0.005),
    "imu": Link(200.0, (0.0015, 0.0003), 0.001),
    "goal": Link(1.0, (0.003, 0.001), 0.0),
    "truth": Link(50.0, (0.0, 0.0), 0.0),
}


class Delivery(NamedTuple):
    """*sensor* is a key of ``LINKS``; times are in seconds since the start of the drive."""

    sensor: str
    stamp_s: float
    arrival_s: float
    data: Any


def drive(seed: int, seconds: float) -> list[Delivery]:
    """A drive through an arena of its own, in order of arrival. Equal arguments give equal values."""
    arena_seed, driver_seed, sensor_seed, link_seed = np.random.SeedSequence(seed).spawn(4)
    arena = make_arena(np.random.default_rng(arena_seed))
    world = World(make_model(arena))
    driver = Driver(np.random.default_rng(driver_seed), arena.pillars)
    rng = np.random.default_rng(sensor_seed)
    camera = Camera(world, rng)
    read: dict[str, Callable[[], Any]] = {
        "camera": camera.read,
        "scan": Lidar(world, rng).read,
        "imu": Imu(world, rng).read,
        "goal": lambda: driver.goal.text,
        "truth": lambda: np.array([*world.motion(), world.clearance()]),
    }
    try:
        acquired = list(_acquire(world, driver, arena.pillars, read, seconds, np.random.default_rng(link_seed)))
    finally:
        camera.close()
    return _deliver(acquired, np.random.default_rng([seed, 1]))


def _acquire(
    world: World,
    driver: Driver,
    pillars: dict[str, tuple[float, float]],
    read: dict[str, Callable[[], Any]],
    seconds: float,
    rng: np.random.Generator,
) -> Iterator[tuple[str, float, Any]]:
    """(sensor, stamp in seconds, data): a sensor is read at the first step of the simulation after it is due."""
    period = world.model.opt.timestep
    for _ in range(round(WARM_UP_S / period)):
        mujoco.mj_step(world.model, world.data)
    count = dict.fromkeys(LINKS, 0)
    due = dict.fromkeys(LINKS, 0.0)
    command, next_command, said = (0.0, 0.0), 0.0, ""
    for step in range(round(seconds / period)):
        now = step * period
        if now >= next_command:
            command, next_command = _ask(world, driver, pillars), next_command + 1.0 / driver.RATE_HZ
        if driver.goal.text != said:  # a new goal is told at once
            said, due["goal"] = driver.goal.text, now
        for name, link in LINKS.items():
            if now >= due[name]:
                yield name, due[name], read[name]()
                count[name] += 1
                jitter = 0.0 if name in ("truth", "goal") else JITTER * rng.standard_normal()
                due[name] = due["goal"] + 1.0 if name == "goal" else (count[name] + jitter) / link.rate_hz
        world.data.ctrl[:] = _wheels(world, *command)
        mujoco.mj_step(world.model, world.data)


def _ask(world: World, driver: Driver, pillars: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """The driver's command, after it has been given a new goal where it has arrived."""
    place, yaw = world.place[:2], world.yaw
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    driver.arrived(float(np.hypot(*(np.array(pillars[driver.goal.colour]) - place))))
    goal = turn @ (np.array(pillars[driver.goal.colour]) - place)
    points = world.surroundings()
    points = points[np.hypot(*(points - goal).T) > 0.45]  # the goal is no obstacle
    return driver.drive(Seen((float(goal[0]), float(goal[1])), points, world.motion()[0]))


def _wheels(world: World, velocity: float, turn: float) -> list[float]:
    """Wheel speeds in rad/s, left and right, front and rear."""
    error = turn - world.motion()[1]
    aside = (TURN_GAIN * turn + TURN_TRIM * error) * TRACK
    left, right = (velocity - aside) / WHEEL_RADIUS, (velocity + aside) / WHEEL_RADIUS
    return [left, right, left, right]


def _deliver(acquired: list[tuple[str, float, Any]], rng: np.random.Generator) -> list[Delivery]:
    """What of *acquired* arrives, in order of arrival; within a sensor the order stays."""
    newest = dict.fromkeys(LINKS, 0.0)
    found = []
    for name, stamp_s, data in acquired:
        link = LINKS[name]
        delay = max(rng.normal(*link.delay_s), link.delay_s[0] / 2) if link.delay_s[1] else 0.0
        if rng.random() < link.lost:
            continue
        newest[name] = max(stamp_s + delay, newest[name])
        found.append(Delivery(name, stamp_s, newest[name], data))
    return sorted(found, key=lambda item: item.arrival_s)
