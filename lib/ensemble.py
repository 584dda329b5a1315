"""Run a job over many seeds: in chunks, in parallel, resumable.

A job is a function ``job(config, seeds)`` of plain data that returns a dict of arrays with one row for each
seed. Chunks have a fixed size (the last one is filled up with its first seed and cut again), so every
network is computed with the same shapes whatever the size of the ensemble; its results are then the same to
the bit. Memory is that of one chunk for each worker, however many seeds there are.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib import nets

CHUNK = 16  # networks at once; measured: from 8 to 32 the time for one network is the same within noise


def run(
    job: Callable[[Mapping, Sequence[int]], dict[str, np.ndarray]],
    config: Mapping,
    seeds: Sequence[int],
    label: str,
    *,
    chunk: int = CHUNK,
    workers: int | None = None,
) -> dict[str, np.ndarray]:
    """Results of a job for every seed, in the order of the seeds.

    A finished chunk is written to the folder ``SGD_BOOK_CHUNKS`` (default ``_build/chunks`` of the project)
    under a key of the job's code, the configuration, the seeds, the chunk's size, the versions and the
    processor. A run that was interrupted takes up from there; a change of anything in the key computes it
    again.

    Args:
        job: A function of a module of ``lib``. TensorFlow releases the interpreter while it computes, so
            chunks run in threads, one a core.
        config: Plain data (what JSON can hold).
        seeds: Distinct whole numbers, 0 to 2**31 - 1.
        label: Name of this run, for its progress bar.
        chunk: Seeds at a time.
        workers: Chunks at once; default the number of cores this process may use.

    Returns:
        The job's arrays, each with ``len(seeds)`` rows.

    Raises:
        ValueError: Seeds repeat or are out of range, chunk or workers is no whole number from 1, the
            configuration is not plain data, or the job returns an array without one row for each seed.
        OSError: A chunk cannot be written. The chunks before it are kept.
    """
    nets.check_seeds(seeds)
    seeds = [int(s) for s in seeds]
    if len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be distinct")
    workers = _cores() if workers is None else workers
    if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in (chunk, workers)):
        raise ValueError(f"chunk and workers must be whole numbers of at least 1, got {chunk} and {workers}")
    key = _key(job, config)
    parts = [seeds[i : i + chunk] for i in range(0, len(seeds), chunk)]

    def compute(part: list[int]) -> dict[str, np.ndarray]:
        filled = part + [part[0]] * (chunk - len(part))
        path = folder() / f"{_digest(key, filled)}.chunk"
        result = _read(path)
        if result is None:
            result = {name: np.asarray(value) for name, value in job(config, filled).items()}
            for name, value in result.items():
                if value.shape[:1] != (chunk,):
                    raise ValueError(
                        f"{name} has shape {value.shape}, wanted {chunk} rows, one for each seed"
                    )
            _write(path, result)
        return {name: value[: len(part)] for name, value in result.items()}

    results: dict[int, dict[str, np.ndarray]] = {}
    with ThreadPoolExecutor(workers) as pool, _Progress(label, len(seeds)) as progress:
        futures = {pool.submit(compute, part): k for k, part in enumerate(parts)}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                progress.advance(len(parts[futures[future]]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: np.concatenate([results[k][name] for k in range(len(parts))]) for name in results[0]}


def folder() -> Path:
    """The folder that keeps finished chunks."""
    default = Path(__file__).resolve().parent.parent / "_build" / "chunks"
    return Path(os.environ.get("SGD_BOOK_CHUNKS") or default)


class _Progress:
    """A progress bar on stderr, or lines in the file SGD_BOOK_PROGRESS for whoever runs the chapter."""

    def __init__(self, label: str, total: int):
        self.label, self.total, self.done = label, total, 0
        self.file = os.environ.get("SGD_BOOK_PROGRESS")

    def __enter__(self):
        self.bar = None if self.file else tqdm(total=self.total, desc=self.label, unit="net", leave=False)
        self.advance(0)
        return self

    def advance(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        else:
            with open(self.file, "a", encoding="utf-8") as f:
                f.write(json.dumps({"label": self.label, "done": self.done, "total": self.total}) + "\n")

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _imports(source: str) -> Iterator[str]:
    """Names of the modules of lib that a module imports, at any place in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "lib":
            yield from (f"lib.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _key(job: Callable, config: Mapping) -> str:
    sources, waiting = {}, [job.__module__]
    while waiting:  # every module of lib that the job's module imports, directly or through another
        name = waiting.pop()
        spec = importlib.util.find_spec(name)
        if name not in sources and spec is not None:
            sources[name] = Path(spec.origin).read_text(encoding="utf-8")
            waiting += [n for n in _imports(sources[name]) if n.startswith("lib.")]
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "tensorflow")}
    key = [
        job.__qualname__,
        config,
        sorted(sources.items()),
        versions,
        platform.python_version(),
        _processor(),
    ]
    try:
        return json.dumps(key, sort_keys=True)
    except TypeError as e:
        raise ValueError(f"config must be plain data, what JSON can hold: {e}") from None


def _processor() -> str:
    """Name of the processor: another one may round differently, so its chunks are not ours."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))
        )
    except (OSError, StopIteration):
        return platform.processor()


def _digest(key: str, part: list[int]) -> str:
    return hashlib.sha256(f"{key}{part}".encode()).hexdigest()


# A chunk's file is the SHA-256 of an .npz file, then that file: a ZIP archive alone misses some damage.
_SUM = hashlib.sha256().digest_size


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The chunk at a path, or nothing where there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_SUM:]).digest() != content[:_SUM]:
        return None
    with np.load(io.BytesIO(content[_SUM:]), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write(path: Path, result: dict[str, np.ndarray]) -> None:
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
    except BaseException as e:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(e, OSError):
            why = f"{e.strerror}: cannot keep finished chunks there (SGD_BOOK_CHUNKS names another folder)"
            raise OSError(e.errno, why, str(path.parent)) from e
        raise
