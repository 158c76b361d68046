"""Who drives: goals in words, and steering towards the pillar that a goal names, around what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PACES = {"slow": 0.4, "normal": 0.8, "fast": 1.35}
"""Metres per second on a free way."""
PHRASES = {
    "slow": (
        "go slowly to the {} pillar",
        "creep towards the {} pillar",
        "drive gently to the {} pillar",
        "slowly please to {}",
        "take your time to the {} pillar",
    ),
    "normal": (
        "go to the {} pillar",
        "drive to the {} pillar",
        "head for the {} pillar",
        "find the {} pillar please",
        "{} pillar",
    ),
    "fast": (
        "hurry to the {} pillar",
        "go fast to the {} pillar",
        "rush to the {} pillar",
        "quickly drive to the {} pillar",
        "fast to {}",
    ),
}

ARRIVED_M = 0.75  # from the pillar's middle
GIVE_UP_S = 20.0
HALF_WIDTH = 0.36  # metres: of the rover, with some room
LOOK_M = 1.6  # obstacles nearer than this slow the rover down
HEADINGS = np.linspace(-2.6, 2.6, 79)  # radians from straight ahead that are looked at
FASTEST_TURN = 1.1  # rad/s
STUCK_S, BACK_S = 1.5, 1.2
MOOD_S, MOOD = 3.0, 0.12  # the driver's pace wanders: time constant, and standard deviation as a share


@dataclass(frozen=True)
class Goal:
    """*pace* is one of ``PACES``, *text* how it was said."""

    colour: str
    pace: str
    text: str


def say_goal(rng: np.random.Generator, colours: list[str], last: Goal | None) -> Goal:
    """A pillar that is not the last one, a pace, and one of the ways to say it."""
    colour = str(rng.choice([name for name in colours if last is None or name != last.colour]))
    pace = str(rng.choice(list(PACES)))
    return Goal(colour, pace, str(rng.choice(PHRASES[pace])).format(colour))


@dataclass(frozen=True)
class Seen:
    """What the driver knows: the goal's place (metres ahead, metres to the left), the points of things around (n, 2)
    in the same frame without the goal itself, and the forward velocity in m/s."""

    goal: tuple[float, float]
    points: Floats
    velocity: float


def free_way(points: Floats, headings: Floats) -> Floats:
    """Metres that a rover can go in each of the *headings* (n,) until it touches one of *points* (m, 2)."""
    cosine, sine = np.cos(headings)[:, None], np.sin(headings)[:, None]
    ahead = points[:, 0] * cosine + points[:, 1] * sine
    aside = points[:, 1] * cosine - points[:, 0] * sine
    in_the_way = (np.abs(aside) < HALF_WIDTH) & (ahead > 0)
    free: Floats = np.where(in_the_way, ahead, 9.0).min(axis=1, initial=9.0)
    return free


class Driver:
    """Asked ``RATE_HZ`` times a second; answers with a forward velocity in m/s and a yaw rate in rad/s."""

    RATE_HZ = 20.0

    def __init__(self, rng: np.random.Generator, places: Mapping[str, tuple[float, float]]) -> None:
        self._rng, self._places = rng, places
        self.goal = say_goal(rng, list(places), None)
        self._since_s = self._rest_s = self._stuck_s = self._back_s = 0.0
        self._heading = self._mood = self._turn = 0.0

    def arrived(self, distance: float) -> bool:
        """Whether the goal is reached or given up; then there is a new one, and a rest before it is followed."""
        if distance > ARRIVED_M and self._since_s < GIVE_UP_S:
            return False
        self.goal = say_goal(self._rng, list(self._places), self.goal)
        self._since_s, self._rest_s = 0.0, float(self._rng.choice([0.0, 0.5, 1.5]))
        return True

    def drive(self, seen: Seen) -> tuple[float, float]:
        """(m/s, rad/s) for the next 1 / ``RATE_HZ`` seconds."""
        period = 1.0 / self.RATE_HZ
        self._since_s += period
        self._mood += -self._mood * period / MOOD_S + MOOD * np.sqrt(2 * period / MOOD_S) * self._rng.standard_normal()
        if self._rest_s > 0:
            self._rest_s -= period
            return 0.0, 0.0
        if self._back_s > 0:
            self._back_s -= period
            return -0.3, self._turn
        return self._forward(seen, period)

    def _forward(self, seen: Seen, period: float) -> tuple[float, float]:
        distance, bearing = float(np.hypot(*seen.goal)), float(np.arctan2(seen.goal[1], seen.goal[0]))
        free = free_way(seen.points, HEADINGS)
        wanted = np.minimum(distance, LOOK_M)
        cost = np.abs(HEADINGS - bearing) + 0.3 * np.abs(HEADINGS - self._heading)
        cost += 4.0 * np.maximum(wanted - free, 0.0) / wanted
        self._heading = float(HEADINGS[np.argmin(cost)])
        way = min(float(free_way(seen.points, np.zeros(1))[0]), distance)
        pace = PACES[self.goal.pace] * (1.0 + self._mood)
        speed = pace * np.clip((way - 0.35) / (LOOK_M - 0.35), 0.0, 1.0) * max(np.cos(self._heading), 0.0) ** 2
        turn = float(np.clip(1.8 * self._heading, -FASTEST_TURN, FASTEST_TURN)) * (0.6 + 0.4 * pace)
        self._watch_out(speed, seen.velocity, turn, period)
        return speed, turn

    def _watch_out(self, speed: float, velocity: float, turn: float, period: float) -> None:
        """Back off where nothing moves although it should."""
        idle = abs(velocity) < 0.05 and (speed > 0.1 or abs(turn) < 0.1)
        self._stuck_s = self._stuck_s + period if idle else 0.0
        if self._stuck_s > STUCK_S:
            self._stuck_s, self._back_s = 0.0, BACK_S
            self._turn = float(self._rng.choice([-0.8, 0.8]))
