"""One demonstration, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tabletop.expert import Expert
from tabletop.scene import CAMERAS, JOINTS, draw_layout
from tabletop.world import World

MOST_FRAMES, TAIL = 150, 6
PUSHES, CALM = 0.04, 0.75  # of all frames, those with a new disturbance; and what is left of it in the next frame


@dataclass(frozen=True)
class Episode:
    """``images``: camera to (T, 72, 96, 3) uint8 RGB; ``state`` (T, 6) float32 measured and ``action`` (T, 6) float32
    commanded joint angles in rad; ``task`` in words."""

    images: dict[str, npt.NDArray[np.uint8]]
    state: npt.NDArray[np.float32]
    action: npt.NDArray[np.float32]
    task: str = "Put the cube on the target."

    def __len__(self) -> int:
        return len(self.state)


def record(world: World, seed: int, disturbance_rad: float = 0.0) -> Episode:
    """The expert's demonstration on the layout of *seed*, until it is home again and a little longer.

    A disturbance is added to the commands that are executed, and not to those that are recorded: so the expert shows
    how to come back (Laskey et al., "DART: Noise Injection for Robust Imitation Learning", 2017). Where it fails,
    ``RuntimeError`` is raised.
    """
    rng = np.random.default_rng(seed)
    world.reset(draw_layout(rng))
    expert, frames, left = Expert(world), list[tuple[dict[str, npt.NDArray[np.uint8]], object, object]](), TAIL
    push = np.zeros(len(JOINTS))
    while left and len(frames) < MOST_FRAMES:
        command = expert.command()
        frames.append((world.images(), world.state, command))
        push = CALM * push + (rng.random() < PUSHES) * rng.normal(0, disturbance_rad, len(JOINTS)) * [1, 1, 1, 1, 1, 0]
        world.step(command + push)
        left -= expert.finished
    if not world.success:
        raise RuntimeError(f"the expert failed on the layout of seed {seed}")
    images, states, actions = zip(*frames, strict=True)
    return Episode(
        {name: np.stack([image[name] for image in images]) for name in CAMERAS},
        np.stack(states).astype(np.float32),
        np.stack(actions).astype(np.float32),
    )


def chunks(action: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """(T, length, 6): at each frame its own action and those that follow; past the end the last one again."""
    rows = np.arange(len(action))[:, None] + np.arange(length)
    return action[np.minimum(rows, len(action) - 1)]
