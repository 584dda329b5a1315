"""Finished chunks on disk, each under a key of everything that its content depends on.

The key covers the job's code and all that it imports, as a syntax tree without comments and docstrings; the
versions of Python and of the packages that compute; the processor by family, model, stepping and flags;
variables that choose the arithmetic; the configuration; and which seeds were computed together, here and in
what came before. A chunk's file says its key and seeds, and is nothing where they are not those asked for.

A chunk that was neither written nor read for `DAYS` days is removed when a run begins.
"""

import functools
import hashlib
import inspect
import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib import loaded
from lib.ensembles import machine, sources

ROOT = Path(__file__).resolve().parents[2]
DAYS = 30  # chunks that nobody asked for in as many are removed
_HOURS = 24  # no writer lives as long: what it left half written is a killed one's


class Changed(RuntimeError):
    """What computes is not what the files say, or not what was asked for; the message says what to do."""


class Chunk(NamedTuple):
    """Names a chunk: the key of all that it depends on but its seeds, and these.

    Attributes:
        key: As from `key`.
        seeds: Those computed together, rising.
    """

    key: str
    seeds: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Of the two: 64 hexadecimal digits."""
        return digest(self)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return folder() / f"{self.digest}.chunk"


def folder() -> Path:
    """The folder that keeps finished chunks: of the checkout, or where one starts a kernel without any."""
    home = ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()
    return Path(os.environ.get("SGD_BOOK_CHUNKS") or home / "_build" / "chunks")


def digest(content: Any) -> str:
    """SHA-256 of plain data, in hexadecimal digits; TypeError where JSON cannot hold it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def code(job: Callable) -> str:
    """Hash of what a job's results depend on beside its configuration and seeds, as this process has it.

    It covers the code of the job's module and of every module of ``lib``, and of the folder that the job's
    module lies in, that it imports; and `machine.environment`.

    Raises:
        ValueError: The job is no function of an importable module.
        Changed: The file of a module says something else than when this process imported it.
    """
    modules = hashes(job)
    return digest([job.__qualname__, modules, machine.environment()])


def hashes(job: Callable) -> dict[str, str]:
    """Hashes of the modules that a job's results depend on, by name; errors as of `code`."""
    # workers cannot import another, nor does its text hold all that it uses
    if not inspect.isfunction(job) or job.__module__ == "__main__" or "<" in job.__qualname__:
        raise ValueError(f"job must be a function of an importable module, got {job!r}")
    name, own = job.__module__, Path(sys.modules[job.__module__].__file__)
    package = name if own.name == "__init__.py" else name.rpartition(".")[0]
    beside = own.parents[package.count(".") + bool(package)]
    text = own.read_text("utf-8")
    reached = _reached(text, package, None if "site-packages" in own.parts else beside)
    return {name: _hash(name, path) for name, path in sorted({**reached, name: own}.items())}


_graphs: dict[tuple, tuple[dict[str, Path], list[int]]] = {}  # with when their files were changed


def _reached(text: str, package: str, beside: Path | None) -> dict[str, Path]:
    """As `sources.modules`, which is asked before and after every chunk; looked for again after any edit."""
    known, then = _graphs.get((text, package, beside), ({}, []))
    with suppress(FileNotFoundError):
        if then and then == [path.stat().st_mtime_ns for path in known.values()]:
            return known
    found = sources.modules([text], ROOT, package, beside)
    _graphs[text, package, beside] = found, [path.stat().st_mtime_ns for path in found.values()]
    return found


def _hash(name: str, path: Path) -> str:
    now = path.read_bytes()
    if name in sys.modules:
        was = loaded.TEXTS.setdefault(name, now)  # one imported before these were kept is taken as it is
        if was != now and sources.meaning(was) != sources.meaning(now):
            raise Changed(
                f"{name} was imported as another text than {path.name} has now: "
                "start this process again (in a notebook: restart the kernel)"
            )
    return sources.meaning(now)


def key(code: str, config: Mapping, chunk: int, before: Chunk | None = None) -> str:
    """Name of everything that a chunk depends on, but its seeds: 64 hexadecimal digits.

    Args:
        code: As from `code`.
        config: The configuration; the one that it goes on from is left out, being in ``before``.
        chunk: Seeds of a block.
        before: The chunk that it goes on from.

    Raises:
        ValueError: The configuration is not plain data.
    """
    own = {name: value for name, value in config.items() if name != "after"}
    try:
        return digest([code, own, chunk, before and before.digest])
    except TypeError as e:
        raise ValueError(f"config must be plain data, what JSON can hold: {e}") from None


REMEDY = (  # where the project itself cannot be written
    "Work in a copy of the project; or run one chapter to a file elsewhere, with SGD_BOOK_CHUNKS=FOLDER, "
    "which keeps what is trained"
)


def check_writable(*folders: Path) -> None:
    """See that what is made can be kept in folders, which need not be there yet, before it is made.

    Raises:
        PermissionError: It cannot; says where, and what to do then.
    """
    for place in folders:
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        if not os.access(there, os.W_OK):
            raise PermissionError(f"{there} cannot be written. {REMEDY}")


def put(path: Path, content: bytes, lasting: bool = True) -> None:
    """Write a file whole or not at all.

    Args:
        path: Of the file; its folder is made.
        content: Of the file.
        lasting: Whether to wait until it is on the disk.

    Raises:
        OSError: It cannot be written; what was there before is then still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


_written: set[Path] = set()  # by this process
_found: set[Path] = set()  # kept by an earlier one, and read


def origins() -> dict[str, int]:
    """How many chunks this process ``computed``, and how many were ``kept`` from earlier runs and taken."""
    return {"computed": len(_written), "kept": len(_found)}


# A chunk's file is the SHA-256 of an .npz file, then that file: a ZIP archive alone misses some damage. The
# archive's comment names the chunk.
_SUM = hashlib.sha256().digest_size


def read(chunk: Chunk) -> dict[str, np.ndarray] | None:
    """A chunk's arrays, or nothing where it is not there, damaged, or another one than its name says."""
    path = chunk.path
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[_SUM:]).digest() != content[:_SUM]:
            return None
        with np.load(io.BytesIO(content[_SUM:]), allow_pickle=False) as file:
            if file.zip.comment != json.dumps(chunk).encode()[-65535:]:
                return None
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    with suppress(OSError):
        os.utime(path)  # it is in use
    if path not in _written:
        _found.add(path)
    return arrays


def write(chunk: Chunk, result: Mapping[str, np.ndarray]) -> None:
    """Write a chunk whole or not at all.

    Raises:
        OSError: It cannot be written; names the folder.
    """
    buffer, path = io.BytesIO(), chunk.path
    np.savez(buffer, allow_pickle=False, **result)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = json.dumps(chunk).encode()[-65535:]
    content = buffer.getvalue()
    try:
        put(path, hashlib.sha256(content).digest() + content, lasting=False)  # a damaged one is seen
        _written.add(path)
    except OSError as e:
        why = f"{e.strerror}: cannot keep finished chunks there (SGD_BOOK_CHUNKS names another folder)"
        raise OSError(e.errno, why, str(path.parent)) from e


@functools.cache  # once a process for each folder
def clean(place: Path) -> None:
    """Remove from a folder the chunks that nobody used for `DAYS` days, and what killed writers left."""
    now = time.time()
    for path in place.glob("*"):
        with suppress(OSError):  # another process may have been first
            idle = now - path.stat().st_mtime
            if idle > {".chunk": 24 * DAYS, ".part": _HOURS}.get(path.suffix, float("inf")) * 3600:
                path.unlink()
