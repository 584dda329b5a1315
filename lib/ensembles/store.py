"""Finished chunks on disk, each under a key of everything that its content depends on."""

import hashlib
import importlib.metadata
import inspect
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.ensembles import sources

ROOT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """The folder that keeps finished chunks."""
    return Path(os.environ.get("SGD_BOOK_CHUNKS") or ROOT / "_build" / "chunks")


def code(job: Callable) -> list:
    """What a job's results depend on beside its configuration and seeds.

    The code of the job's module and of every module of ``lib`` that it imports, the versions of NumPy,
    TensorFlow and Python, and the processor.

    Raises:
        ValueError: The job is no function of an importable module.
    """
    # workers cannot import another, nor does its text hold all that it uses
    if not inspect.isfunction(job) or job.__module__ == "__main__" or "<" in job.__qualname__:
        raise ValueError(f"job must be a function of an importable module, got {job!r}")
    own = Path(sys.modules[job.__module__].__file__).read_text("utf-8")
    reached = sources.modules([own], ROOT, job.__module__.rpartition(".")[0])
    texts = {name: path.read_text("utf-8") for name, path in reached.items()} | {job.__module__: own}
    return [
        job.__qualname__,
        sorted((name, text) for name, text in texts.items() if text),  # an empty one says nothing
        {name: importlib.metadata.version(name) for name in ("numpy", "tensorflow")},
        platform.python_version(),
        processor(),
    ]


def key(code: list, config: Mapping) -> str:
    """Name of everything that a job's results depend on, but the seeds.

    Args:
        code: As from `code`.
        config: The configuration.

    Returns:
        SHA-256 of both, as text.

    Raises:
        ValueError: The configuration is not plain data.
    """
    try:
        text = json.dumps([code, config], sort_keys=True)
    except TypeError as e:
        raise ValueError(f"config must be plain data, what JSON can hold: {e}") from None
    return hashlib.sha256(text.encode()).hexdigest()


def processor() -> str:
    """Name of the processor: another one may round differently, so its chunks are not ours."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine() or "unknown"


REMEDY = (  # where the project itself cannot be written
    "Work in a copy of the project; or run one chapter to a file elsewhere, with SGD_BOOK_CHUNKS=FOLDER, "
    "which keeps what is trained"
)


def check_writable(*folders: Path) -> None:
    """See that what is made can be kept, before it is made.

    Args:
        *folders: Where it is to be kept; they need not be there yet.

    Raises:
        PermissionError: It cannot; says where, and what to do then.
    """
    for place in folders:
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        if not os.access(there, os.W_OK):
            raise PermissionError(f"{there} cannot be written. {REMEDY}")


def path(key: str, seeds: Sequence[int]) -> Path:
    """Where the chunk of these seeds lies."""
    return folder() / f"{digest(key, seeds)}.chunk"


def digest(key: str, seeds: Sequence[int]) -> str:
    """Name of the chunk of these seeds."""
    return hashlib.sha256(f"{key}{list(seeds)}".encode()).hexdigest()


_written: set[Path] = set()  # by this process
_found: set[Path] = set()  # kept by an earlier one, and read


def origins() -> dict[str, int]:
    """How many chunks this process ``computed``, and how many were ``kept`` from earlier runs and taken."""
    return {"computed": len(_written), "kept": len(_found)}


# A chunk's file is the SHA-256 of an .npz file, then that file: a ZIP archive alone misses some damage.
_SUM = hashlib.sha256().digest_size


def read(path: Path) -> dict[str, np.ndarray] | None:
    """The chunk at a path, or nothing where there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_SUM:]).digest() != content[:_SUM]:
        return None
    if path not in _written:
        _found.add(path)
    with np.load(io.BytesIO(content[_SUM:]), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def write(path: Path, result: Mapping[str, np.ndarray]) -> None:
    """Write a chunk whole or not at all.

    Raises:
        OSError: It cannot be written; names the folder.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **result)
    content = buffer.getvalue()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
        _written.add(path)
    except BaseException as e:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(e, OSError):
            why = f"{e.strerror}: cannot keep finished chunks there (SGD_BOOK_CHUNKS names another folder)"
            raise OSError(e.errno, why, str(path.parent)) from e
        raise
