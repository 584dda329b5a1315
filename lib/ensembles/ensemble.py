"""Run a job over many seeds: in chunks, in parallel, resumable.

A job is a function ``job(config, seeds)`` of plain data that returns a dict of arrays with one row for each
seed. Seeds belong to fixed blocks: with chunks of 16, seed 35 to that of 32 to 47. Those of a block that one
call of `run` asks for are computed together, whatever order they were given in; a job draws what they share,
such as the order of the images, by the block. So

* a network has the same weights and images whoever else is asked for, and the same results up to rounding;
* the same call gives the same bits, on such a machine, interrupted or not;
* a full block has the same companions in every ensemble, so its results are the same to the bit and kept.

Memory is that of one chunk for each worker, however many seeds there are.

A configuration may go on where another one ended, which it then holds under ``after``. The job is called as
``job(config, seeds, before)`` with that one's arrays for the same seeds; where they are missing, they are
computed and kept first, for all seeds of the block that the call asks for in any configuration that goes on
from it.

With ``SGD_BOOK_SCHEDULER=tcp://host:8786`` chunks are computed on a Dask cluster and kept here. Its workers
must be like this machine, down to the processor, which is in a chunk's key: others are refused. Nothing is
computed in this process, unless it is itself one of many (`places.is_alone`).
"""

import contextlib
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lib import checks
from lib.ensembles import cluster, machine, places, store

CHUNK = 16  # networks at once; measured: from 8 to 32 the time for one network is the same within noise

Job = Callable[..., dict[str, np.ndarray]]
Results = dict[str, np.ndarray]


class _Link(NamedTuple):
    """A chunk, and what it takes to compute it."""

    label: str
    config: Mapping
    chunk: store.Chunk
    before: store.Chunk | None


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
    under the key that `store` describes. A run that was interrupted takes up from there; a change of anything
    in the key computes it again.

    Args:
        job: A function of an importable module.
        configs: Plain data (what JSON can hold) by name; the names appear in the progress bar. Several at
            once keep all cores busy to the end.
        seeds: Distinct whole numbers, 0 to 2**31 - 1; for all configurations, or by the name of each.
        chunk: Seeds of a block.
        workers: Chunks at once, each in a process of its own; default one for each core that this process may
            use, or one in all where this process is itself one of many, which then computes. A cluster has
            workers of its own.

    Returns:
        For each configuration the job's arrays, each with one row for each seed, in the order of the seeds.

    Raises:
        ValueError: Seeds repeat or their chunk is out of range, chunk or workers is no whole number from 1,
            there is no configuration or one is not plain data, or the job returns an array without one row
            for each seed.
        places.Lost: Worker processes were ended from outside again and again, for lack of memory perhaps; or
            a cluster cannot be used or was lost.
        store.Changed: A module was edited after it was imported, here or by a worker.
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
        checks.seeds(chosen)
        if len(set(chosen)) != len(chosen):
            raise ValueError("seeds must be distinct")
    wanted = {name: [int(s) for s in chosen] for name, chosen in wanted.items()}
    if workers is None:
        workers = 1 if places.is_alone() else machine.at_once()
    chunk, workers = checks.whole(1, 2**31)("chunk", chunk), checks.whole(1, 10**6)("workers", workers)
    largest = max(max(chosen) for chosen in wanted.values())
    if (largest // chunk + 1) * chunk > 2**31:
        raise ValueError(f"the chunk of {chunk} seeds around {largest} goes beyond {2**31 - 1}")
    code = store.code(job)
    lines = {name: _line(config) for name, config in configs.items()}
    together: dict[tuple[str, int], set[int]] = {}  # of a configuration and a block: who is computed together
    for name, line in lines.items():
        for seed in wanted[name]:
            for text, _ in line:
                together.setdefault((text, seed // chunk), set()).add(seed)

    def links_of(name: str, block: int) -> list[_Link]:
        """The chunk of a block, and after it those it goes on from, the first of all last."""
        links: list[_Link] = []
        for depth, (text, config) in enumerate(lines[name], 1 - len(lines[name])):
            before = links[0].chunk if links else None
            at = store.Chunk(store.key(code, config, chunk, before), tuple(sorted(together[text, block])))
            links.insert(0, _Link("before " * -depth + name, config, at, before))
        return links

    store.clean(store.folder())
    tasks: dict[store.Chunk, _Link] = {}  # whatever another one comes after stands before it
    found: dict[store.Chunk, Results] = {}  # of those asked for
    there: set[store.Chunk] = set()
    places_of: dict[tuple[str, int], store.Chunk] = {}  # of each block
    for name in configs:
        for block in dict.fromkeys(seed // chunk for seed in wanted[name]):
            links = links_of(name, block)
            places_of[name, block] = last = links[0].chunk
            missing = []
            for link in links:
                # one that is there may have been read for another that goes on from it
                asked = link.chunk == last and last not in found
                if link.chunk in tasks or (link.chunk in there and not asked):
                    break
                result = store.read(link.chunk)
                if result is not None:
                    found |= {last: result} if link.chunk == last else {}
                    there.add(link.chunk)
                    break
                missing.append(link)
            tasks |= {link.chunk: link for link in reversed(missing)}
    if tasks:
        store.check_writable(store.folder())
    with (
        _Progress(next(iter(configs)), sum(len(each.seeds) for each in tasks)) as progress,
        contextlib.closing(_computed(job, code, tasks, workers, progress.say)) as coming,
    ):
        for done, result in coming:
            for array, value in result.items():
                if value.shape[:1] != (len(done.seeds),):
                    raise ValueError(
                        f"{array} has shape {value.shape}, wanted {len(done.seeds)} rows, one for each seed"
                    )
            store.write(done, result)
            if done in places_of.values():
                found[done] = result
            progress.advance(tasks[done].label, len(done.seeds))
    results = {}
    for name in configs:
        rows = [(at, at.seeds.index(s)) for s in wanted[name] for at in [places_of[name, s // chunk]]]
        arrays = found[rows[0][0]]
        results[name] = {array: np.stack([found[at][array][k] for at, k in rows]) for array in arrays}
    return results


def _line(config: Mapping) -> list[tuple[str, Mapping]]:
    """A configuration last, and before it those it goes on from: (text of it and all before it, itself)."""
    line = [config]
    while line[-1].get("after"):
        line.append(line[-1]["after"])
    found, text = [], ""
    for each in reversed(line):
        text = store.key(text, each, 0)
        found.append((text, each))
    return found


def compute(
    module: str, name: str, code: str, config: Mapping, seeds: Sequence[int], before: Results | None
) -> Results:
    """One chunk, in the process that computes it; `run` has it called there.

    ``code`` is what `store.code` gives where the chunk will be kept, ``before`` the arrays of the chunk that
    it goes on from, those of these seeds.

    Raises:
        store.Changed: The job's code, a version, the processor or a variable is another one here.
    """
    job = getattr(importlib.import_module(module), name)
    _check(job, code)
    result = job(config, seeds) if before is None else job(config, seeds, before)
    _check(job, code)  # with what it imported meanwhile
    return {name: np.asarray(value) for name, value in result.items()}


def _check(job: Job, code: str) -> None:
    if store.code(job) != code:
        raise store.Changed(
            f"a worker has another text of {job.__module__} or of what it imports, another version, "
            "processor or variable; if something was edited meanwhile: run again"
        )


@functools.cache
def _connected(address: str) -> cluster.Cluster:
    """The cluster at an address, whose workers are compared once for all runs of a chapter."""
    return cluster.Cluster(address, same_processor=True)


def _computed(
    job: Job, code: str, tasks: Mapping[store.Chunk, _Link], workers: int, say: Callable[[str], None]
) -> Iterator[tuple[store.Chunk, Results]]:
    """Results of all tasks, as they come; whoever takes one keeps it before asking for the next."""
    if not tasks:
        return

    def arguments(link: _Link) -> tuple:
        arrays = None
        if link.before is not None:
            arrays = store.read(link.before)
            if arrays is None:
                raise RuntimeError(f"a chunk that others need is gone from {store.folder()}: run again")
            rows = [link.before.seeds.index(seed) for seed in link.chunk.seeds]
            arrays = {name: value[rows] for name, value in arrays.items()}
        return job.__module__, job.__qualname__, code, link.config, list(link.chunk.seeds), arrays

    asked = {
        at: places.Task(__name__, "compute", functools.partial(arguments, link), link.before)
        for at, link in tasks.items()
    }
    try:
        if address := os.environ.get(places.SCHEDULER):
            place = _connected(address)
        elif workers == 1 and places.is_alone():
            place = places.Itself()
        else:
            place = places.Processes(workers, train=True)
        ahead = 1 if isinstance(place, places.Itself) else 2  # so that no worker waits while one is kept here
        under_way = places.results(place, asked, lambda under, trouble: trouble and say(trouble), ahead)
        with contextlib.closing(under_way) as coming:
            for at, outcome in coming:
                if isinstance(outcome, BaseException):
                    raise outcome
                yield at, outcome
    except BaseException:
        _connected.cache_clear()  # it is closed now
        raise


class _Progress:
    """Of the networks to compute: a bar where it is seen, or lines in the file SGD_BOOK_PROGRESS names."""

    def __init__(self, label: str, total: int):
        self.label, self.total, self.done = label, total, 0
        self.file = os.environ.get("SGD_BOOK_PROGRESS")

    def __enter__(self):
        stream = None if self.file or not self.total else _audience()
        self.bar = stream and tqdm(
            total=self.total, desc=self.label, unit="net", leave=False, file=stream, ncols=100
        )
        self.advance(self.label, 0)
        return self

    def advance(self, label: str, count: int) -> None:
        self.done += count
        if self.bar:
            self.bar.set_description(label, refresh=False)
            self.bar.update(count)
        elif self.file and self.total:
            with open(self.file, "a", encoding="utf-8") as f:
                f.write(json.dumps({"label": label, "done": self.done, "total": self.total}) + "\n")

    def say(self, text: str) -> None:
        """Shows what is the matter."""
        self.advance(text, 0)

    def __exit__(self, *_):
        if self.bar:
            self.bar.close()


class _Display:
    """A stream whose last line is shown in a notebook, and gone when it is cleared."""

    def __init__(self, display):
        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        # HTML, since an empty text would keep its line
        shown = {"text/html": f"<pre>{escape(line)}</pre>" * bool(line), "text/plain": line}
        self.handle.update(shown, raw=True)

    def flush(self) -> None:
        pass


def _audience() -> Any:
    """Where a bar is seen and does not stay: in a notebook somebody looks at, in a terminal; None if nowhere.

    A front end tells which cell it runs; papermill and nbconvert do not, and keep whatever a cell writes. So
    there the bar goes to their own terminal, which the kernel's stream keeps a copy of.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if not hasattr(shell, "kernel"):
        return sys.stderr
    if shell.get_parent().get("metadata"):
        from IPython.display import display

        return _Display(display)
    terminal = getattr(sys.stderr, "_original_stdstream_copy", None)
    if terminal is not None and os.isatty(terminal):
        return open(os.dup(terminal), "w", encoding="utf-8")
    return None
