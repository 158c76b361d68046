"""Generated sensors that look at one scene: what a fusion model can learn from, with the statistics of real recordings.

Cameras see shaded objects before a textured background through a pinhole; LiDAR is a sparse bird's-eye grid of the
same objects; the IMU measures gravity, a slow random walk and noise in m/s² and rad/s; audio is a log-mel spectrum
with the multiplicative noise that power spectra have. Everything follows from a seeded generator. Numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgefuse.spec import Array

OBJECTS = 4
BEV_METRES = 24.0
HEIGHT_SLICES = 6
SOUNDS = 4
GRAVITY = 9.81


@dataclass(frozen=True)
class Scenes:
    """*n* scenes of ``OBJECTS`` objects. The first one is the target: red in three of the four palettes.

    ``place`` (n, k, 3): metres forward (3 to 18), left, and up from the camera; ``size`` (n, k) metres;
    ``colour`` (n, k, 3) 0 to 1; ``box`` (n, k) bool: a box, otherwise a ball; ``palette`` (n,) of the target.
    """

    place: Array
    size: Array
    colour: Array
    box: Array
    palette: Array

    def __len__(self) -> int:
        return len(self.place)


PALETTES = np.array([[0.9, 0.15, 0.1], [0.1, 0.75, 0.2], [0.95, 0.8, 0.1]])


def make_scenes(count: int, generator: np.random.Generator) -> Scenes:
    forward = generator.uniform(3, 18, (count, OBJECTS))
    forward[:, 0] = generator.uniform(3, 10, count)
    left = forward * generator.uniform(-0.45, 0.45, (count, OBJECTS))
    up = generator.uniform(-1.0, 0.8, (count, OBJECTS))
    palette = generator.integers(0, len(PALETTES), count)
    grey = generator.uniform(0.15, 0.8, (count, OBJECTS, 1))
    colour = np.clip(grey + generator.normal(0, 0.06, (count, OBJECTS, 3)) + [0, 0, 0.1], 0, 1)
    colour[:, 0] = PALETTES[palette]
    return Scenes(
        np.stack([forward, left, up], -1),
        generator.uniform(0.5, 1.3, (count, OBJECTS)),
        colour,
        generator.random((count, OBJECTS)) < 0.5,
        palette,
    )


def camera(scenes: Scenes, size: tuple[int, int], generator: np.random.Generator, shift_m: float = 0.0) -> Array:
    """(n, 3, height, width) float32, normalised as vision models want it; the camera stands *shift_m* to the left."""
    return np.stack([_picture(scenes, index, size, generator, shift_m) for index in range(len(scenes))])


def _picture(
    scenes: Scenes, index: int, size: tuple[int, int], generator: np.random.Generator, shift_m: float
) -> Array:
    height, width = size
    image = _background(height, width, generator)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    for number in np.argsort(-scenes.place[index, :, 0]):  # far ones first
        forward, left, up = scenes.place[index, number]
        focal = 0.9 * width
        u, v = width / 2 - focal * (left - shift_m) / forward, height / 2 - focal * up / forward
        radius = focal * scenes.size[index, number] / 2 / forward
        across, down = (columns - u) / radius, (rows - v) / radius
        distance = np.maximum(abs(across), abs(down)) if scenes.box[index, number] else np.hypot(across, down)
        covered = np.clip((1 - distance) * radius + 0.5, 0, 1)
        shade = np.clip(0.85 - 0.2 * down - 0.15 * across, 0.3, 1.2)
        paint = scenes.colour[index, number][:, None, None] * shade
        image = image * (1 - covered) + paint * covered
    image = image * generator.uniform(0.75, 1.2) + generator.normal(0, 0.02, image.shape)
    return ((np.clip(image, 0, 1) - 0.45) / 0.25).astype(np.float32)


def _background(height: int, width: int, generator: np.random.Generator) -> Array:
    """Sky above ground, both with a smooth texture."""
    horizon = height * generator.uniform(0.35, 0.5)
    below = np.clip((np.arange(height) - horizon) / 3 + 0.5, 0, 1)[None, :, None]
    sky, ground = np.array([0.55, 0.65, 0.8]), np.array([0.4, 0.37, 0.33])
    tint = generator.normal(0, 0.06, (2, 3))
    plain = (sky + tint[0])[:, None, None] * (1 - below) + (ground + tint[1])[:, None, None] * below
    coarse, fine = (smooth_noise(height, width, cells, generator) for cells in (6, 24))
    return plain + 0.08 * coarse + (0.02 + 0.05 * below) * fine


def smooth_noise(height: int, width: int, cells: int, generator: np.random.Generator) -> Array:
    """(height, width): normal values on a coarse grid, interpolated linearly."""
    return _between(height, cells) @ generator.normal(size=(cells, cells)) @ _between(width, cells).T


def _between(count: int, cells: int) -> Array:
    """(count, cells): rows that interpolate linearly between *cells* values."""
    at = np.linspace(0, cells - 1, count)[:, None]
    return np.clip(1 - abs(at - np.arange(cells)), 0, 1)


def lidar_bev(scenes: Scenes, cells: int, generator: np.random.Generator) -> Array:
    """(n, 8, cells, cells) float32: log point counts in 6 slices of height, mean intensity, log count in all."""
    return np.stack([_bev(scenes, index, cells, generator) for index in range(len(scenes))])


def _bev(scenes: Scenes, index: int, cells: int, generator: np.random.Generator) -> Array:
    points = [_ground(generator)]
    for (forward, left, up), size, grey in zip(scenes.place[index], scenes.size[index], scenes.colour[index].mean(-1)):
        count = int(np.clip(1500 * size / forward, 60, 500))
        spread = generator.uniform(-0.5, 0.5, (count, 2)) * size
        near = forward - size / 2 + abs(generator.normal(0, 0.08, count))  # a laser sees the near side
        points.append(np.stack([near, left + spread[:, 0], up + spread[:, 1], np.full(count, grey)], -1))
    return _grid(np.concatenate(points), cells)


def _ground(generator: np.random.Generator, count: int = 600) -> Array:
    """Rings of the beams that meet the ground, 1.5 m below the sensor; (count, 4): forward, left, up, intensity."""
    distance = 3.0 * 1.25 ** generator.integers(0, 9, count) + generator.normal(0, 0.05, count)
    angle = generator.uniform(-1.2, 1.2, count)
    up = generator.normal(-1.4, 0.04, count)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle), up, generator.uniform(0, 0.4, count)], -1)


def _grid(points: Array, cells: int) -> Array:
    row = (points[:, 0] / BEV_METRES * cells).astype(int)
    column = ((points[:, 1] / BEV_METRES + 0.5) * cells).astype(int)
    inside = (row >= 0) & (row < cells) & (column >= 0) & (column < cells)
    row, column, points = row[inside], column[inside], points[inside]
    level = np.clip(((points[:, 2] + 1.5) * 2).astype(int), 0, HEIGHT_SLICES - 1)
    counts, intensity = np.zeros((HEIGHT_SLICES, cells, cells)), np.zeros((cells, cells))
    np.add.at(counts, (level, row, column), 1.0)
    np.add.at(intensity, (row, column), points[:, 3])
    total = counts.sum(0)
    layers = [*np.log1p(counts), intensity / np.maximum(total, 1), np.log1p(total)]
    return np.stack(layers).astype(np.float32)


def imu(count: int, steps: int, rate_hz: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Windows (n, steps, 6) float32 of accelerations in m/s² (with gravity) and turn rates in rad/s; and what drives
    them, (n, 5): mean turn rates about three axes, mean accelerations along two."""
    turn = generator.normal(0, 0.5, (count, 1, 3)) + _walk(count, steps, 3, rate_hz, generator)
    push = generator.normal(0, 1.0, (count, 1, 2)) + 2 * _walk(count, steps, 2, rate_hz, generator)
    tilt = generator.normal(0, 0.08, (count, 1, 2)) + np.cumsum(turn[..., :2], 1) / rate_hz  # roll, pitch
    force = np.stack(
        [
            push[..., 0] - GRAVITY * np.sin(tilt[..., 1]),
            push[..., 1] + GRAVITY * np.sin(tilt[..., 0]) * np.cos(tilt[..., 1]),
            GRAVITY * np.cos(tilt[..., 0]) * np.cos(tilt[..., 1]),
        ],
        -1,
    )
    vibration = np.array([0.15] * 3 + [0.02] * 3) * generator.normal(size=(count, steps, 6))
    window = np.concatenate([force, turn], -1) + vibration
    return window.astype(np.float32), np.concatenate([turn.mean(1), push.mean(1)], -1)


def _walk(count: int, steps: int, axes: int, rate_hz: float, generator: np.random.Generator) -> Array:
    return np.cumsum(generator.normal(size=(count, steps, axes)), 1) * 0.5 / rate_hz**0.5


def log_mel(sounds: Array, bands: int, frames: int, generator: np.random.Generator) -> Array:
    """(n, bands, frames) float32, about −2 to 3: each clip holds one of the ``SOUNDS``, at any pitch and time."""
    return np.stack([_clip(int(sound), bands, frames, generator) for sound in sounds])


def _clip(sound: int, bands: int, frames: int, generator: np.random.Generator) -> Array:
    band, frame = np.arange(bands)[:, None], np.arange(frames)[None, :]
    start, length = generator.uniform(0, 0.4) * frames, generator.uniform(0.35, 0.6) * frames
    inside = ((frame >= start) & (frame < start + length)).astype(float)
    along, low = (frame - start) / length, generator.uniform(0.1, 0.35) * bands
    if sound < 2:  # a rising or a falling sweep
        pitch = low + (along if sound == 0 else 1 - along) * 0.5 * bands
        level = np.exp(-(((band - pitch) / 2) ** 2))
    elif sound == 2:  # a voice: harmonics with vibrato
        pitch = low + 1.5 * np.sin(2 * np.pi * frame / 25)
        level = sum(np.exp(-(((band - pitch - 9 * k) / 1.5) ** 2)) * 0.8**k for k in range(5)) + 0 * along
    else:  # clicks: every band at once, again and again
        level = np.exp(-band / bands) * (np.mod(frame - start, generator.integers(12, 20)) < 3)
    quiet = 0.02 * np.exp(-2.0 * band / bands) * np.exp(0.3 * smooth_noise(bands, frames, 8, generator))
    power = (quiet + generator.uniform(0.3, 1.5) * level * inside) * generator.gamma(4.0, 0.25, (bands, frames))
    return (np.log10(power + 1e-4) + 2.0).astype(np.float32)
