"""Make a recording of the digits task: a minute in which each second a new digit is shown, said and typed.

From the held-out samples (golden/): a camera at 30 Hz that shows the second's picture with sensor noise, a microphone
that hands over the latest window of sound ten times a second, and a keyboard whose word comes when it has been typed.
Every delivery has its acquisition stamp and arrives a realistic while later; some frames are lost on the way. Labels
hold from the instant at which the digit changes.

Run `python calibration/digits/record.py digits-recording.npz` from the repository root. The same seed gives the same
arrays. The format is docs/recordings.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.generic]]
Floats = npt.NDArray[np.float64]

HERE = Path(__file__).resolve().parent
START_S = 1_700_000_000.0  # any date; stamps are nanoseconds since 1970

CAMERA_HZ, MICROPHONE_HZ = 30.0, 10.0
JITTER_S = 0.002  # standard deviation of an acquisition around its period
CAMERA_DELAY_S = (0.018, 0.004)  # exposure, readout and transfer: mean and standard deviation
MICROPHONE_DELAY_S = (0.030, 0.006)
KEYBOARD_DELAY_S = (0.004, 0.001)
SPOKEN_AFTER_S = 0.25  # when the word is complete in the microphone's window
TYPED_AFTER_S = (0.35, 0.08)  # when the last key is hit, after the digit has changed
CAMERA_LOST, MICROPHONE_LOST = 0.02, 0.005  # share of deliveries that never arrive
SENSOR_NOISE = 0.04  # standard deviation, of full scale 1


def delivered(
    times: Floats, delay: tuple[float, float], lost: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Stamps and arrivals, both (n,) in seconds and increasing, of what was acquired at *times* and not lost."""
    stamps = times[rng.random(times.size) >= lost]
    arrivals = stamps + np.maximum(rng.normal(*delay, size=stamps.size), delay[0] / 2)
    return stamps, np.maximum.accumulate(arrivals)


def periodic(seconds: int, rate_hz: float, rng: np.random.Generator) -> Floats:
    """Times of a sensor with jitter, increasing."""
    ideal = np.arange(1, int(seconds * rate_hz)) / rate_hz
    return np.sort(ideal + rng.normal(0.0, JITTER_S, ideal.size))


def stamps_ns(name: str, stamps: Floats, arrivals: Floats) -> Arrays:
    """The two arrays of times that go with the array *name*."""
    return {
        f"{name}.stamp_ns": np.round((START_S + stamps) * 1e9).astype(np.int64),
        f"{name}.arrival_ns": np.round((START_S + arrivals) * 1e9).astype(np.int64),
    }


def camera(shown: Arrays, seconds: int, rng: np.random.Generator) -> Arrays:
    """The picture of the second, each time with other noise."""
    stamps, arrivals = delivered(periodic(seconds, CAMERA_HZ, rng), CAMERA_DELAY_S, CAMERA_LOST, rng)
    frames = shown["image"][stamps.astype(int)]
    frames = np.clip(frames + rng.normal(0.0, SENSOR_NOISE, frames.shape), 0.0, 1.0).astype(np.float32)
    return {"image": frames, **stamps_ns("image", stamps, arrivals)}


def microphone(shown: Arrays, seconds: int, rng: np.random.Generator) -> Arrays:
    """The window of the word that was said last; of the one before it until the new one is complete."""
    stamps, arrivals = delivered(periodic(seconds, MICROPHONE_HZ, rng), MICROPHONE_DELAY_S, MICROPHONE_LOST, rng)
    heard = np.maximum(stamps - SPOKEN_AFTER_S, 0.0).astype(int)
    return {"audio": shown["audio"][heard], **stamps_ns("audio", stamps, arrivals)}


def keyboard(shown: Arrays, seconds: int, rng: np.random.Generator) -> Arrays:
    """One word a second."""
    typed = np.arange(seconds, dtype=np.float64) + np.clip(rng.normal(*TYPED_AFTER_S, size=seconds), 0.1, 0.9)
    stamps, arrivals = delivered(typed, KEYBOARD_DELAY_S, 0.0, rng)
    return {"text": shown["text"][stamps.astype(int)], **stamps_ns("text", stamps, arrivals)}


def record(samples: Path, seconds: int, seed: int) -> Arrays:
    """image (n, 1, 8, 8) f32, audio (n, 32, 24) f32, text (n, 12) i64 with their times, and the labels with theirs."""
    rng = np.random.default_rng(seed)
    with np.load(samples) as stored:
        chosen = rng.permutation(len(stored["label"]))[:seconds]
        shown: Arrays = {name: stored[name][chosen] for name in stored.files}
    labels = {
        "label": shown["label"],
        "label.stamp_ns": np.round((START_S + np.arange(seconds)) * 1e9).astype(np.int64),
    }
    return {**camera(shown, seconds, rng), **microphone(shown, seconds, rng), **keyboard(shown, seconds, rng), **labels}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Make a recording of the digits task.")
    parser.add_argument("out", type=Path, nargs="?", default=Path("digits-recording.npz"), help="file to write (.npz)")
    parser.add_argument("--seconds", type=int, default=60, help="length, at most 941")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    arrays = record(HERE / "golden" / "samples.npz", args.seconds, args.seed)
    with args.out.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    print(f"{args.out}: {args.seconds} s, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
