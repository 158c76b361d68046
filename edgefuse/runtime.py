"""Running a bundle inside an application: ``edgefuse.load(path)``. Needs numpy and one vendor library.

with edgefuse.load("rover.edgefuse") as model:
    out = model({"image": x, "imu": y})["velocity"]
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from edgefuse.assembled import Assembled, part_spec
from edgefuse.backends import Runner, Settings, load_backend
from edgefuse.blob_cache import BlobCache, blob_folder
from edgefuse.bundle import Bundle, open_bundle
from edgefuse.errors import BundleError, DeviceMismatchError
from edgefuse.model import Model, run_once
from edgefuse.precision import FLOAT
from edgefuse.spec import ModelSpec

IDENTITY = {"arch": "architecture", "version": "{} version", "gpu": "GPU", "driver": "driver"}
"""What people call the keys of a backend's ``identity``."""


def load(path: str | os.PathLike[str], *, cache: bool | str | os.PathLike[str] = True, parts: bool = False) -> Model:
    """Verify the bundle (hashes, device, inputs and outputs), load it and run it once on zeros: it is ready then.

    What the vendor compiles here is kept for the next start, in the folder *cache* (True: ``$XDG_CACHE_HOME/edgefuse/
    blobs``; False: nowhere). Where that cannot be done the model runs all the same.

    With *parts* the bundle's parts are loaded in place of the whole graph, where it has some: half of the time and
    memory for an application that only streams. Calls run them one after another then.

    Raises ``BundleError`` where the bundle is damaged, ``DeviceMismatchError`` where it was made for another
    architecture or toolchain version, ``ToolchainError`` where the vendor's library refuses it.
    """
    blobs = (blob_folder() if cache else None) if isinstance(cache, bool) else Path(cache)
    with ExitStack() as stack:
        bundle = stack.enter_context(open_bundle(Path(path), hashes=False))
        runner = open_runner(bundle, blobs, parts=parts)
        model = Model(bundle, runner, stack.pop_all(), lambda: stream_parts(bundle, blobs))
    model.warm_up()
    return model


def open_runner(bundle: Bundle, blobs: Path | None = None, *, parts: bool = False) -> Runner:
    """The bundle's artifact in its backend, or its *parts*, after the device has been found to match; *blobs* is the
    cache's folder."""
    if bundle.portable:
        raise portable_error(bundle)
    made = bundle.manifest["artifact"]
    name = str(made["backend"])
    backend = load_backend(name)
    for key, value in backend.identity().items():
        if made.get(key) != value:
            install = f"Install {name}=={made[key]}, or compile" if key == "version" else "Compile"
            raise DeviceMismatchError(
                f"was made for {IDENTITY.get(key, key).format(name)} {made.get(key)}; this machine has {value}",
                where=str(bundle.shown),
                hint=f"{install} it again on this machine: {_compile_here(bundle)}",
            )
    if made["calls"] == "parts" or (parts and made["parts"]):
        return open_parts(bundle, blobs)
    return _open(bundle, bundle.artifact, bundle.spec, bundle.settings, blobs)


def portable_error(bundle: Bundle) -> DeviceMismatchError:
    target = bundle.manifest["target"]["name"]
    return DeviceMismatchError(
        f"is portable: it has not been compiled on its device yet (target {target})",
        where=str(bundle.shown),
        hint=_compile_here(bundle),
    )


def open_float(bundle: Bundle) -> Runner:
    """The float graph that the bundle carries, in float32 on the bundle's own backend: what the compiled model is
    compared with on inputs that the golden samples do not have. Compiles it, in seconds (an engine: in minutes).

    Raises ``BundleError`` where the bundle has none, and as :func:`open_runner`.
    """
    if FLOAT not in bundle.graphs:
        raise BundleError(
            "holds no float graph to compare with",
            where=str(bundle.shown),
            hint="Compile the model file again, without --no-float-graph.",
        )
    path, made = bundle.graphs[FLOAT], bundle.manifest["artifact"]
    bundle.check_files(path)
    backend = load_backend(str(made["backend"]))
    settings = replace(bundle.settings, inference_precision="f32")
    with tempfile.TemporaryDirectory(prefix="edgefuse-") as folder:
        backend.compile(path, Path(folder), bundle.spec, settings)
        return backend.open(Path(folder), bundle.spec, settings)


def open_parts(bundle: Bundle, blobs: Path | None = None) -> Assembled:
    """The bundle's parts, put together; only where its artifact has some. *blobs* is the cache's folder."""
    made, partition = bundle.manifest["artifact"], bundle.partition
    runners = {}
    for item in made["parts"]:
        spec = part_spec(partition[item["name"]], partition, bundle.spec)
        artifact, settings = bundle.path / item["path"], Settings(**item["settings"])
        runners[item["name"]] = _open(bundle, artifact, spec, settings, blobs)
    return Assembled(partition, runners, bundle.spec, made["lanes"])


def stream_parts(bundle: Bundle, blobs: Path | None) -> Assembled | None:
    """The parts, after a first run; None where the bundle has none."""
    if not bundle.manifest["artifact"]["parts"]:
        return None
    parts = open_parts(bundle, blobs)
    run_once(parts, bundle.spec)
    return parts


def _open(bundle: Bundle, artifact: Path, spec: ModelSpec, settings: Settings, blobs: Path | None) -> Runner:
    """*artifact* of the bundle, after its hashes have been found right; or what was compiled from it before."""
    backend = load_backend(str(bundle.manifest["artifact"]["backend"]))
    if blobs is None:
        bundle.check_files(artifact)
        return backend.open(artifact, spec, settings)
    return backend.open(artifact, spec, settings, _cache(bundle, artifact, blobs))


def _cache(bundle: Bundle, artifact: Path, blobs: Path) -> BlobCache:
    """The cache of what *artifact* compiles to. Its content is known by the manifest, whose checksum was right."""
    files, folder = bundle.manifest["files"], artifact.relative_to(bundle.path).as_posix() + "/"
    held = {name.removeprefix(folder): file["sha256"] for name, file in files.items() if name.startswith(folder)}
    return BlobCache(blobs, json.dumps(held, sort_keys=True), lambda: bundle.check_files(artifact))


def _compile_here(bundle: Bundle) -> str:
    return f"edgefuse compile {bundle.shown.name}"
