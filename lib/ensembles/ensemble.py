"""Run a job over many seeds: in chunks, in parallel, resumable.

A job is a function ``job(config, seeds)`` of plain data that returns a dict of arrays with one row for each
seed. Seeds are computed in fixed blocks: with chunks of 16, seed 35 always together with 32 to 47, whoever of
them was asked for. So a network has the same companions, the same shapes and the same results to the bit in
every ensemble. Memory is that of one chunk for each worker, however many seeds there are.

A configuration may go on where another one ended, which it then holds under ``after``. The job is called as
``job(config, seeds, before)`` with that one's arrays for the same seeds; where they are missing, they are
computed and kept first.

With ``SGD_BOOK_SCHEDULER=tcp://host:8786`` chunks are computed on a Dask cluster and kept here. Its workers
must be like this machine, down to the name of the processor, which is in a chunk's key: others are refused.
"""

import functools
import hashlib
import importlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from lib import nets
from lib.backend import tf
from lib.ensembles import cluster, store, worker

CHUNK = 16  # networks at once; measured: from 8 to 32 the time for one network is the same within noise

Job = Callable[..., dict[str, np.ndarray]]
Results = dict[str, np.ndarray]


class _Task(NamedTuple):
    """A chunk to compute: for which configuration, which seeds, after which other chunk."""

    label: str
    config: Mapping
    seeds: list[int]
    before: Path | None


def run(
    job: Job,
    configs: Mapping[str, Mapping],
    seeds: Sequence[int] | Mapping[str, Sequence[int]],
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
        seeds: Distinct whole numbers, 0 to 2**31 - 1; for all configurations, or by the name of each.
        chunk: Seeds at a time; a block that is asked for in part is computed whole.
        workers: Chunks at once, each in a process of its own; default one for each core that this process may
            use, or one in all where TensorFlow has a GPU or this process is itself one of many. With one, the
            job runs in this process. A cluster has workers of its own.

    Returns:
        For each configuration the job's arrays, each with one row for each seed, in the order of the seeds.

    Raises:
        ValueError: Seeds repeat or their chunk is out of range, chunk or workers is no whole number from 1,
            there is no configuration or one is not plain data, or the job returns an array without one row
            for each seed.
        RuntimeError: A worker process was ended from outside, for lack of memory perhaps; or a cluster cannot
            be used or was lost.
        OSError: Finished chunks cannot be written, which is seen before any is computed where the folder is
            read-only. What was written before is kept.
    """
    if not configs:
        raise ValueError("configs must hold at least one configuration, got none")
    wanted = seeds if isinstance(seeds, Mapping) else dict.fromkeys(configs, seeds)
    if wanted.keys() != configs.keys():
        raise ValueError(
            f"seeds must be named as the configurations, {sorted(configs)}, got {sorted(wanted)}"
        )
    for chosen in wanted.values():
        nets.check_seeds(chosen)
        if len(set(chosen)) != len(chosen):
            raise ValueError("seeds must be distinct")
    wanted = {name: [int(s) for s in chosen] for name, chosen in wanted.items()}
    if workers is None:
        alone = worker.ONE_THREAD in os.environ or tf.config.list_physical_devices("GPU")
        workers = 1 if alone else len(worker.cores())
    whole = all(isinstance(n, (int, np.integer)) for n in (chunk, workers))
    if not whole or chunk < 1 or workers < 1:
        raise ValueError(f"chunk and workers must be whole numbers from 1, got {chunk} and {workers}")
    last = max(max(chosen) for chosen in wanted.values())
    if (last // chunk + 1) * chunk > 2**31:
        raise ValueError(f"the chunk of {chunk} seeds around {last} goes beyond {2**31 - 1}")
    chunk, workers = int(chunk), int(workers)
    code, keys = store.code(job), {}  # the code's text once: a walk has hundreds of configurations
    tasks: dict[Path, _Task] = {}  # whatever another one comes after stands before it
    found: dict[Path, Results] = {}  # of those asked for
    there: set[Path] = set()

    def need(label: str, config: Mapping, block: int, asked: bool = False) -> Path:
        """Where a chunk lies; it becomes a task if it does not lie there yet."""
        as_text = json.dumps(config, default=repr)
        if as_text not in keys:
            keys[as_text] = f"{store.key(code, config)}{chunk}"
        members = list(range(block * chunk, (block + 1) * chunk))
        place = store.path(keys[as_text], members)
        if place in tasks or place in found or (place in there and not asked):
            return place
        result = store.read(place)
        if result is None:
            before = need(f"before {label}", config["after"], block) if config.get("after") else None
            tasks[place] = _Task(label, config, members, before)
        elif asked:
            found[place] = result
        else:
            there.add(place)
        return place

    places: dict[tuple[str, int], Path] = {}  # of each block
    uses: dict[Path, Counter[str]] = {}  # how many networks of each name
    for name, config in configs.items():
        for block, count in Counter(seed // chunk for seed in wanted[name]).items():
            place = places[name, block] = need(name, config, block, asked=True)
            uses.setdefault(place, Counter())[name] += count
    if tasks:
        store.check_writable(store.folder())
    extra = [place for place in tasks if place not in uses]
    with _Progress(next(iter(configs)), sum(map(len, wanted.values())) + chunk * len(extra)) as progress:

        def advance(place: Path) -> None:
            for name, count in uses.get(place, {tasks[place].label: chunk} if place in tasks else {}).items():
                progress.advance(name, count)

        for place in list(found):
            advance(place)
        for place, result in _computed(job, tasks, workers):
            for array, value in result.items():
                if value.shape[:1] != (chunk,):
                    raise ValueError(
                        f"{array} has shape {value.shape}, wanted {chunk} rows, one for each seed"
                    )
            store.write(place, result)
            if place in uses:
                found[place] = result
            advance(place)
    return {
        name: {
            array: np.stack([found[places[name, s // chunk]][array][s % chunk] for s in wanted[name]])
            for array in found[places[name, wanted[name][0] // chunk]]
        }
        for name in configs
    }


def _compute(job: Job, config: Mapping, seeds: Sequence[int], before: Path | Results | None) -> Results:
    arguments = [config, seeds] if before is None else [config, seeds, _arrays(before)]
    return {name: np.asarray(value) for name, value in job(*arguments).items()}


def _arrays(before: Path | Results | None) -> Results | None:
    if not isinstance(before, Path):
        return before
    arrays = store.read(before)
    if arrays is None:
        raise RuntimeError(f"a chunk that others need is gone from {before.parent}: run again")
    return arrays


def compute(
    module: str, name: str, code: str, config: Mapping, seeds: Sequence[int], before: Results | None
) -> Results:
    """One chunk, on a worker of a cluster; `run` has it called there.

    Args:
        module: Dotted name of the job's module.
        name: Of the job in it.
        code: What `code_hash` gives where the chunk will be kept.
        config: The configuration.
        seeds: Of the chunk.
        before: Arrays of the chunk that it goes on from.

    Raises:
        RuntimeError: The job's code, a version or the processor is another one here.
    """
    job = getattr(importlib.import_module(module), name)
    if code_hash(job) != code:
        raise RuntimeError(f"a worker has another text of {module}, another version or another processor")
    return _compute(job, config, seeds, before)


@functools.cache
def code_hash(job: Job) -> str:
    """SHA-256 of what a job's results depend on beside configuration and seeds."""
    return hashlib.sha256(json.dumps(store.code(job)).encode()).hexdigest()


class _Pool:
    """The worker processes of this machine."""

    def __init__(self, workers: int):
        # some more than there are workers, so that none waits while a result is kept here
        self.at_once, self._workers = 2 * workers, workers
        self._pool = worker.pool(workers)

    def submit(self, job: Job, task: _Task) -> Future:
        with _interrupts_later():
            return self._pool.submit(_compute, job, *task[1:])

    def wait(self, futures: Mapping[Future, Path]) -> set[Future]:
        return wait(futures, return_when=FIRST_COMPLETED)[0]

    def close(self) -> None:
        worker.restart(self._workers)


class _Cluster:
    """The workers of a Dask cluster, who share no files with this machine."""

    def __init__(self, address: str):
        self._cluster = _connected(address)

    @property
    def at_once(self) -> int:
        return 2 * self._cluster.workers

    def submit(self, job: Job, task: _Task) -> Future:
        who = (job.__module__, job.__qualname__, code_hash(job))
        arguments = (task.config, task.seeds, _arrays(task.before))
        return self._cluster.submit("lib.ensembles.ensemble", "compute", *who, *arguments)

    def wait(self, futures: Mapping[Future, Path]) -> set[Future]:
        return self._cluster.wait(futures, 1.0)

    def close(self) -> None:
        self._cluster.close()
        _connected.cache_clear()


@functools.cache
def _connected(address: str) -> cluster.Cluster:
    """The cluster at an address, whose workers are compared once for all runs of a chapter."""
    return cluster.Cluster(address, same_processor=True)


def _computed(job: Job, tasks: Mapping[Path, _Task], workers: int) -> Iterator[tuple[Path, Results]]:
    """Results of all tasks, as they come; whoever takes one keeps it before asking for the next."""
    address = os.environ.get(cluster.SCHEDULER)
    if not address and (workers == 1 or len(tasks) < 2) or not tasks:
        for place, task in tasks.items():
            yield place, _compute(job, *task[1:])
        return
    pool = _Cluster(address) if address else _Pool(workers)
    waiting, missing, futures = dict(tasks), set(tasks), {}
    try:
        while missing:
            ready = [place for place, task in waiting.items() if task.before not in missing]
            for place in ready[: max(0, pool.at_once - len(futures))]:
                futures[pool.submit(job, waiting.pop(place))] = place
            for future in pool.wait(futures):
                place = futures.pop(future)
                with cluster.lost_worker():
                    result = future.result()
                yield place, result
                missing.remove(place)
    except BrokenExecutor:
        pool.close()
        raise RuntimeError(
            "a worker process was ended from outside, for lack of memory perhaps; "
            "finished chunks are kept: run again"
        ) from None
    except BaseException:  # an interrupt among them: nobody waits for the rest
        pool.close()
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
