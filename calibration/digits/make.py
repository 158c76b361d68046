"""Make the data of the task "say one digit three ways": a picture, a spoken word and a typed word.

Every sample holds the same digit three times, each time spoiled in its own way:

* image: a UCI handwritten digit (8x8), shifted, blurred, partly covered, noisy;
* audio: the digit's English name spoken by espeak-ng, in noise and with a gap, as log-mel frames;
* text: the digit's English name with typing errors, as character ids.

Run `python calibration/digits/make.py` from the repository root.  It writes the training set (not
committed) and the two committed sets, calibrate/ and golden/, beside this file.  The same seed and the
same espeak-ng version give the same arrays, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[np.generic]]
Pool = dict[int, list[F64]]  # digit -> utterances

HERE = Path(__file__).resolve().parent
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LEVELS = 64  # image and audio values are whole multiples of 1/64: exact in float32 and small when packed

# --- the split -------------------------------------------------------------------------------------
TRAIN_IMAGES = 600
CALIBRATE_IMAGES = 256

# --- the difficulty --------------------------------------------------------------------------------
IMAGE_NOISE = (0.05, 0.26)  # standard deviation of the pixel noise, of full scale 1
IMAGE_COVER = (2, 4)  # sides of the covered rectangle in pixels, upper bound excluded
AUDIO_SNR_DB = (-8.0, 14.0)  # signal-to-noise ratio over the utterance, before frames are lost
AUDIO_GAP = (0, 12)  # length of the lost stretch in frames, upper bound excluded
TEXT_ERRORS = (0.10, 0.12, 0.16, 0.18, 0.18, 0.14, 0.12)  # probabilities of 0..6 typing errors

# --- sound -----------------------------------------------------------------------------------------
RATE = 22050  # Hz, what espeak-ng writes
FRAMES, MELS, FFT, HOP = 32, 24, 1024, 512  # 46.4 ms Hann windows every 23.2 ms
WINDOW = (FRAMES - 1) * HOP + FFT  # samples: 0.77 s
MEL_RANGE_HZ = (80.0, 8000.0)
FLOOR_DB = 50.0  # range below the loudest cell that is kept; it maps to 0..1

TEXT_LENGTH = 12

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan")
# espeak-ng voice variants, apart by blanks.
TRAIN_VOICES = """
    m1 m2 m3 m5 m6 m8 f1 f2 f4 f5 adam Alex Alicia Andy Annie AnxiousAndy antonio aunty belinda benjamin
    boris caleb croak david Denis Diogo ed edward Gene grandpa gustave Henrique Hugo Jacky john
    kaukovalta klatt klatt2 klatt3 klatt4 marcelo Marco Mario max Michael michel miguel Mike Nguyen paul
    pedro quincy RicishayMax rob robert robosoft robosoft5 sandro shelby Storm travis Tweaky victor
    whisper anika announcer
"""
# Never heard in training; steph* and iven* are held out as whole families.
HELD_OUT_VOICES = """
    m4 m7 f3 Andrea Lee linda zac pablo norbert grandma steph steph2 steph3 iven iven2 iven3 iven4
"""


@dataclass(frozen=True)
class Utterance:
    """One call of espeak-ng: speed in words per minute, pitch on espeak-ng's 0..99 scale."""

    digit: int
    voice: str
    speed: int
    pitch: int


# === speech ========================================================================================


def plan_utterances(voices: str, takes: int, rng: np.random.Generator) -> list[Utterance]:
    """Every voice says every digit `takes` times, each time with another accent, speed and pitch."""
    return [
        Utterance(digit, f"{rng.choice(ACCENTS)}+{voice}", int(rng.integers(130, 216)), int(rng.integers(20, 81)))
        for voice in voices.split()
        for digit in range(len(WORDS))
        for _ in range(takes)
    ]


def require_espeak() -> str:
    """The version line of espeak-ng, or an exit with a clear message when it is not installed."""
    if shutil.which("espeak-ng") is None:
        raise SystemExit("make.py: espeak-ng was not found on PATH; install it (Debian: apt install espeak-ng)")
    answer = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.split("Data at")[0].strip()


def speak(item: Utterance) -> I16:
    """Mono int16 samples at RATE, silence at both ends cut off."""
    command = ["espeak-ng", "-v", item.voice, "-s", str(item.speed), "-p", str(item.pitch), "--stdout"]
    answer = subprocess.run([*command, WORDS[item.digit]], capture_output=True, check=False)
    start = answer.stdout.find(b"data") + 8  # a streamed WAV: the chunk's length field is not filled in
    if answer.returncode != 0 or start < 8:
        raise SystemExit(f"make.py: espeak-ng failed for {item}: {answer.stderr.decode(errors='replace')}")
    return trim(np.frombuffer(answer.stdout[start:], dtype="<i2").astype(np.int16))


def trim(wave: I16) -> I16:
    """Cut what lies under 2 % of the peak at both ends, and everything beyond WINDOW samples."""
    loud = np.abs(wave.astype(np.int32))
    kept = np.flatnonzero(loud > 0.02 * loud.max(initial=0))
    if kept.size == 0:
        raise SystemExit("make.py: espeak-ng gave silence; is its voice data installed?")
    return wave[kept[0] : kept[-1] + 1][:WINDOW]


def synthesise(plan: list[Utterance], cache: Path | None, version: str) -> Pool:
    """Speak the whole plan, or read it from the cache when that holds the same plan and version."""
    key = json.dumps([version, WORDS, [asdict(item) for item in plan]])
    waves = read_cache(cache, key)
    if waves is None:
        with ThreadPoolExecutor(max_workers=2) as workers:
            waves = list(workers.map(speak, plan))
        write_cache(cache, key, waves)
    pool: Pool = {digit: [] for digit in range(len(WORDS))}
    for item, wave in zip(plan, waves, strict=True):
        pool[item.digit].append(wave / np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    return pool


def read_cache(path: Path | None, key: str) -> list[I16] | None:
    """The cached waves, or None without a cache, or with one for another plan."""
    if path is None or not path.exists():
        return None
    with np.load(path) as stored:
        if str(stored["key"]) != key:
            return None
        samples: I16 = stored["samples"]
        ends: I64 = stored["ends"]
    return list(np.split(samples, ends[:-1]))


def write_cache(path: Path | None, key: str, waves: list[I16]) -> None:
    """Store the waves end to end, with the plan they answer."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    ends = np.cumsum([wave.size for wave in waves], dtype=np.int64)
    np.savez_compressed(path, key=np.array(key), samples=np.concatenate(waves), ends=ends)


def coloured_noise(rng: np.random.Generator) -> F64:
    """(WINDOW,) noise of mean square 1 whose power falls as 1/f^a, a drawn from 0 (white) to 1.5."""
    spectrum = np.fft.rfft(rng.standard_normal(WINDOW))
    spectrum *= np.arange(1, spectrum.size + 1) ** (-rng.uniform(0.0, 1.5) / 2)
    noise: F64 = np.fft.irfft(spectrum, WINDOW)
    noise /= np.sqrt(np.mean(noise**2))
    return noise


def spoil_wave(wave: F64, rng: np.random.Generator) -> F64:
    """(WINDOW,) the utterance at a random place, with a lost stretch, in noise at a random level."""
    out = np.zeros(WINDOW)
    start = int(rng.integers(0, WINDOW - wave.size + 1))
    out[start : start + wave.size] = wave
    gap = int(rng.integers(*AUDIO_GAP)) * HOP
    lost = start + int(rng.integers(0, wave.size))
    out[max(0, lost - gap // 2) : lost + gap // 2] = 0.0
    level = 10.0 ** (-rng.uniform(*AUDIO_SNR_DB) / 20.0)
    out += level * coloured_noise(rng)
    return out


def hz_to_mel(hz: F64) -> F64:
    """HTK's mel scale: mel = 2595 log10(1 + f / 700) (The HTK Book, section 5.4, Filterbank Analysis)."""
    return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0), dtype=np.float64)


def mel_to_hz(mel: F64) -> F64:
    """The inverse of hz_to_mel: f = 700 (10^(mel / 2595) - 1)."""
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0), dtype=np.float64)


def mel_filters() -> F64:
    """(FFT // 2 + 1, MELS) triangles of peak 1 whose corners are evenly spaced in mel."""
    low, high = hz_to_mel(np.array(MEL_RANGE_HZ))
    corners = mel_to_hz(np.linspace(low, high, MELS + 2))
    hz = np.arange(FFT // 2 + 1)[:, None] * (RATE / FFT)
    rising = (hz - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hz) / (corners[2:] - corners[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


def log_mel(wave: F64, filters: F64) -> F64:
    """(FRAMES, MELS) in 0..1: mel power in dB, from FLOOR_DB under the loudest cell up to it."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FFT), axis=1)) ** 2
    decibel = 10.0 * np.log10(power @ filters + 1e-9)
    return np.asarray(np.clip(1.0 + (decibel - decibel.max()) / FLOOR_DB, 0.0, 1.0))


# === picture =======================================================================================


def shifted(image: F64, down: int, right: int) -> F64:
    """(8, 8) the picture moved by whole pixels; what comes in is 0."""
    rows, columns = image.shape
    padded = np.pad(image, 2)
    return padded[2 - down : 2 - down + rows, 2 - right : 2 - right + columns]


def blurred(image: F64, share: float) -> F64:
    """(8, 8) a mixture of the picture and its 3x3 mean."""
    near = [shifted(image, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    out: F64 = (1.0 - share) * image + share * np.mean(near, axis=0)
    return out


def spoil_image(image: F64, rng: np.random.Generator) -> F64:
    """(8, 8) in 0..1: shifted by up to one pixel, blurred, partly covered, of low contrast, noisy."""
    out = blurred(shifted(image, *rng.integers(-1, 2, size=2)), rng.uniform(0.0, 0.6))
    height, width = rng.integers(*IMAGE_COVER, size=2)
    top, left = rng.integers(0, 9 - height), rng.integers(0, 9 - width)
    out[top : top + height, left : left + width] = rng.uniform(0.0, 1.0)
    out = out * rng.uniform(0.6, 1.0) + rng.normal(0.0, rng.uniform(*IMAGE_NOISE), size=out.shape)
    return np.clip(out, 0.0, 1.0)


# === typing ========================================================================================


def mistype(word: str, rng: np.random.Generator) -> str:
    """One typing error: a wrong, a missing or an extra letter, or two neighbours swapped."""
    at = int(rng.integers(0, len(word)))
    letter = chr(ord("a") + int(rng.integers(0, 26)))
    kind = int(rng.integers(0, 4))
    if kind == 0:
        return word[:at] + letter + word[at + 1 :]
    if kind == 1 and len(word) > 1:
        return word[:at] + word[at + 1 :]
    if kind == 2 and at + 1 < len(word):
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + letter + word[at:]


def spoil_word(word: str, rng: np.random.Generator) -> str:
    """The word after a random number of typing errors (TEXT_ERRORS)."""
    for _ in range(int(rng.choice(len(TEXT_ERRORS), p=TEXT_ERRORS))):
        word = mistype(word, rng)
    return word


def encode(word: str) -> I64:
    """(TEXT_LENGTH,) int64: a..z as 1..26, 0 for padding; longer words are cut."""
    ids = np.zeros(TEXT_LENGTH, dtype=np.int64)
    codes = [ord(letter) - ord("a") + 1 for letter in word[:TEXT_LENGTH]]
    ids[: len(codes)] = codes
    return ids


# === sets ==========================================================================================


def split_images(seed: int) -> tuple[I64, I64, I64]:
    """Row numbers of load_digits() for training, calibration and evaluation: no row is in two of them."""
    order = np.random.default_rng([seed, 0]).permutation(len(load_digits().target))
    train, calibrate, golden = np.split(order, [TRAIN_IMAGES, TRAIN_IMAGES + CALIBRATE_IMAGES])
    return train, calibrate, golden


def rounded(values: Iterable[F64]) -> F32:
    """Stack to float32 whole multiples of 1 / LEVELS."""
    return (np.round(np.stack(list(values)) * LEVELS) / LEVELS).astype(np.float32)


def build_set(rows: I64, pool: Pool, rng: np.random.Generator) -> Arrays:
    """image (n, 1, 8, 8) f32, audio (n, 32, 24) f32, text (n, 12) i64, label (n,) i64, one per row."""
    digits = load_digits()
    labels = digits.target[rows].astype(np.int64)
    filters = mel_filters()
    images = [spoil_image(digits.images[row] / 16.0, rng) for row in rows]
    picks = [pool[label][int(rng.integers(0, len(pool[label])))] for label in labels.tolist()]
    audio = [log_mel(spoil_wave(wave, rng), filters) for wave in picks]
    text = [encode(spoil_word(WORDS[label], rng)) for label in labels.tolist()]
    return {
        "image": rounded(images)[:, None],
        "audio": rounded(audio),
        "text": np.stack(text),
        "label": labels,
    }


def save(path: Path, arrays: Arrays) -> None:
    """Write one .npz and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    print(f"{path}: {len(arrays['label'])} samples, {path.stat().st_size / 1e6:.2f} MB")


def make_set(rows: I64, voices: str, takes: int, part: int, args: argparse.Namespace) -> Arrays:
    """Speak and assemble one set; `part` separates the random streams of the sets."""
    plan = plan_utterances(voices, takes, np.random.default_rng([args.seed, part, 0]))
    cache = args.speech_cache / f"speech-{part}.npz" if args.speech_cache else None
    pool = synthesise(plan, cache, args.espeak)
    return build_set(rows, pool, np.random.default_rng([args.seed, part, 1]))


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the data of the digits task.")
    parser.add_argument("--train", type=Path, default=Path("build/digits/train.npz"), help="training set to write")
    parser.add_argument("--samples", type=int, default=40000, help="size of the training set")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for calibrate/ and golden/")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speech-cache", type=Path, default=None, help="folder that keeps the spoken words")
    parser.add_argument("--only", choices=("train", "compact"), default=None, help="make one of the two parts")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """Make the sets the command line asks for."""
    args = parse(argv)
    args.espeak = require_espeak()
    train, calibrate, golden = split_images(args.seed)
    if args.only != "compact":
        repeated = np.resize(train, args.samples)  # each image many times, each time spoiled anew
        save(args.train, make_set(repeated, TRAIN_VOICES, 4, 1, args))
    if args.only != "train":
        for name, rows, takes, part in (("calibrate", calibrate, 4, 2), ("golden", golden, 8, 3)):
            save(args.out / name / "samples.npz", make_set(rows, HELD_OUT_VOICES, takes, part, args))


if __name__ == "__main__":
    main(sys.argv[1:])
