"""Run a job over many seeds: in chunks, in parallel, resumable.

A job is a function ``job(config, seeds)`` of plain data that returns a dict of arrays with one row for each
seed. Chunks have a fixed size (the last one is filled up with its first seed and cut again), so every
network is computed with the same shapes whatever the size of the ensemble; its results are then the same to
the bit. Memory is that of one chunk for each worker, however many seeds there are.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from lib import nets, store, worker
from lib.backend import tf

CHUNK = 16  # networks at once; measured: from 8 to 32 the time for one network is the same within noise

Job = Callable[[Mapping, Sequence[int]], dict[str, np.ndarray]]
Results = dict[str, np.ndarray]


def run(
    job: Job,
    configs: Mapping[str, Mapping],
    seeds: Sequence[int],
    *,
    chunk: int = CHUNK,
    workers: int | None = None,
) -> dict[str, Results]:
    """Results of a job for every configuration and every seed.

    A finished chunk is written to the folder ``SGD_BOOK_CHUNKS`` (default ``_build/chunks`` of the project)
    under a key of the job's code, the configuration, the seeds, the chunk's size, the versions and the
    processor. A run that was interrupted takes up from there; a change of anything in the key computes it
    again.

    Args:
        job: A function of an importable module.
        configs: Plain data (what JSON can hold) by name; the names appear in the progress bar. Several at
            once keep all cores busy to the end.
        seeds: Distinct whole numbers, 0 to 2**31 - 1.
        chunk: Seeds at a time.
        workers: Chunks at once, each in a process of its own; default one for each core that this process may
            use, or one in all where TensorFlow has a GPU. With one, the job runs in this process.

    Returns:
        For each configuration the job's arrays, each with ``len(seeds)`` rows in the order of the seeds.

    Raises:
        ValueError: Seeds repeat or are out of range, chunk or workers is no whole number from 1, there is no
            configuration or one is not plain data, or the job returns an array without one row for each seed.
        RuntimeError: A worker process was ended from outside, for lack of memory perhaps.
        OSError: A finished chunk cannot be written. What was written before is kept.
    """
    nets.check_seeds(seeds)
    seeds = [int(s) for s in seeds]
    if len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be distinct")
    if workers is None:
        workers = 1 if tf.config.list_physical_devices("GPU") else len(worker.cores())
    whole = all(isinstance(n, (int, np.integer)) for n in (chunk, workers))
    if not whole or chunk < 1 or workers < 1:
        raise ValueError(f"chunk and workers must be whole numbers from 1, got {chunk} and {workers}")
    if not configs:
        raise ValueError("configs must hold at least one configuration, got none")
    chunk, workers = int(chunk), int(workers)
    keys = {name: f"{store.key(job, config)}{chunk}" for name, config in configs.items()}
    parts = [seeds[i : i + chunk] for i in range(0, len(seeds), chunk)]

    results: dict[tuple[str, int], Results] = {}
    missing = []
    with _Progress(next(iter(configs)), len(seeds) * len(configs)) as progress:
        for name in configs:
            for k, part in enumerate(parts):
                found = store.read(store.path(keys[name], part))
                if found is None:
                    missing.append((name, k))
                else:
                    results[name, k] = found
                    progress.advance(name, len(part))
        tasks = {
            (name, k): (configs[name], parts[k] + parts[k][:1] * (chunk - len(parts[k])))
            for name, k in missing
        }
        for (name, k), result in _computed(job, tasks, workers):
            for array, value in result.items():
                if value.shape[:1] != (chunk,):
                    raise ValueError(
                        f"{array} has shape {value.shape}, wanted {chunk} rows, one for each seed"
                    )
            store.write(store.path(keys[name], parts[k]), result)
            results[name, k] = result
            progress.advance(name, len(parts[k]))
    return {
        name: {
            array: np.concatenate([results[name, k][array][: len(part)] for k, part in enumerate(parts)])
            for array in results[name, 0]
        }
        for name in configs
    }


def _compute(job: Job, config: Mapping, seeds: Sequence[int]) -> Results:
    return {name: np.asarray(value) for name, value in job(config, seeds).items()}


def _computed(job: Job, tasks: Mapping, workers: int) -> Iterator[tuple[object, Results]]:
    """Results of all tasks, as they come."""
    if workers == 1 or len(tasks) < 2:
        for task, arguments in tasks.items():
            yield task, _compute(job, *arguments)
        return
    pool, futures = worker.pool(workers), {}
    try:
        with _interrupts_later():
            for task, arguments in tasks.items():
                futures[pool.submit(_compute, job, *arguments)] = task
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenExecutor:
        worker.restart(workers)
        raise RuntimeError(
            "a worker process was ended from outside, for lack of memory perhaps; "
            "finished chunks are kept: run again"
        ) from None
    except BaseException:  # an interrupt among them: nobody waits for the rest
        worker.restart(workers)
        raise


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Let Ctrl-C wait: this starts workers, which inherit that; one half started would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Progress:
    """A progress bar on stderr, or lines in the file SGD_BOOK_PROGRESS for whoever runs the chapter."""

    def __init__(self, label: str, total: int):
        self.label, self.total, self.done = label, total, 0
        self.file = os.environ.get("SGD_BOOK_PROGRESS")

    def __enter__(self):
        self.bar = None if self.file else tqdm(total=self.total, desc=self.label, unit="net", leave=False)
        self.advance(self.label, 0)
        return self

    def advance(self, label: str, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.set_description(label, refresh=False)
            self.bar.update(count)
        else:
            with open(self.file, "a", encoding="utf-8") as f:
                f.write(json.dumps({"label": label, "done": self.done, "total": self.total}) + "\n")

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()
