"""Runs a chapter over many sets of parameters: a grid, a list, or a random sample.

On the command line: ``python -m book.sweep CHAPTER ...``, see ``--help``. All sets are checked before the
first run starts. Each run has a core to itself, on this machine or on a Dask cluster. What is done is not run
again; what fails is kept beside it and stops no other run.
"""

import argparse
import ast
import contextlib
import csv
import fcntl
import hashlib
import io
import itertools
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
from IPython.core.inputtransformer2 import TransformerManager
from tqdm import tqdm

from book import gate, record, run, summary
from book.progress import Progress, clock
from lib.ensembles import cluster, worker
from lib.page import params

ROOT = Path(__file__).resolve().parents[1]
_REFRESH_SECONDS = 20.0  # at least, between two writings of the results while runs finish
_REFRESH_SHARE = 0.02  # of the time, at most, for writing them
_LOG_SECONDS = 30.0
_RESTARTS = 3  # of the local workers, when one is ended from outside
_KINDS = "uniform:LOW:HIGH, log:LOW:HIGH, int:LOW:HIGH or choice:V,V,..."
_EXAMPLES = """\
examples:
  python -m book.sweep greedy_layerwise_training --smoke --grid rate=0.001,0.01 --grid networks=4,8 --dry-run
  python -m book.sweep greedy_layerwise_training -p networks 50 --sample rate=log:1e-4:1e-1 --runs 20 --seed 1
  python -m book.sweep plateau_after_lr_jump --preview --grid first_seed=1,2,3 --measure optimum
  python -m book.sweep broken_net_recovery --list my_runs.csv --scheduler tcp://host:8786
"""


class SweepError(RuntimeError):
    """A sweep stopped; the message says why, and what was finished is kept."""


class Run(NamedTuple):
    """One set of parameters.

    Attributes:
        number: from 1, in the order asked for.
        given: those that are not left at the chapter's defaults, checked.
        values: all of them.
        name: of its files, made from the values.
    """

    number: int
    given: dict[str, Any]
    values: dict[str, Any]
    name: str


class Plan(NamedTuple):
    """A sweep that has been checked as a whole.

    Attributes:
        notebook: path of the chapter.
        text: of the notebook.
        scale: whose parameters are the base: ``full``, ``preview`` or ``smoke``.
        runs: all of them.
        swept: units of the parameters that differ between runs, by name.
        repeated: how many sets were left out because an equal one stands before them.
    """

    notebook: Path
    text: str
    scale: str
    runs: tuple[Run, ...]
    swept: dict[str, str]
    repeated: int


# ---- which runs ------------------------------------------------------------------------------------------


def _named(option: str, text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not (name.strip() and equals and values.strip()):
        raise ValueError(f"{option}: got {text!r}, wanted NAME=...")
    return name.strip(), values.strip()


def _split(text: str) -> list[str]:
    """Values between commas; commas within brackets belong to a list."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


def grid(axes: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of values.

    Args:
        axes: one ``NAME=VALUE,VALUE,...`` for each parameter.

    Returns:
        Values by name, the last axis changing fastest.

    Raises:
        ValueError: for an axis of another form, or two of one name.
    """
    values: dict[str, list[str]] = {}
    for axis in axes:
        name, text = _named("--grid", axis)
        if name in values:
            raise ValueError(f"--grid: {name} is given twice")
        values[name] = _split(text)
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def listed(path: Path) -> list[dict[str, Any]]:
    """Sets of parameters from a file.

    Args:
        path: a CSV file whose first line names the parameters (an empty cell leaves one at its base), or a
            JSON file that holds a list of objects.

    Raises:
        ValueError: naming what is wrong with the file.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"--list: got {path.name}, wanted a file that ends in .csv or .json")
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--list: cannot read {path}: {error}") from None
    if path.suffix.lower() == ".json":
        try:
            sets = json.loads(text)
        except ValueError as error:
            raise ValueError(f"--list: {path.name} is not JSON: {error}") from None
        if not isinstance(sets, list) or not sets or not all(isinstance(each, dict) for each in sets):
            raise ValueError(f"--list: {path.name}: wanted a list of objects, one for each run")
        return sets
    head, *rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if any(row)] or [[]]
    names = [name.strip() for name in head]
    if not rows or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"--list: {path.name}: wanted a line of names, each once, and a line for each run")
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise ValueError(f"--list: {path.name}, run {number}: {len(row)} values for {len(names)} names")
    return [{n: v.strip() for n, v in zip(names, row, strict=True) if v.strip()} for row in rows]


def sample(specs: Sequence[str], runs: int, seed: int) -> list[dict[str, Any]]:
    """Random sets of parameters.

    Each parameter has random numbers of its own, so a larger sample begins with the smaller one, and another
    parameter more changes no other.

    Args:
        specs: one ``NAME=KIND:...`` for each parameter: ``uniform:LOW:HIGH``, ``log:LOW:HIGH`` (uniform in
            the logarithm), ``int:LOW:HIGH`` (both ends included) or ``choice:V,V,...``.
        runs: number of sets.
        seed: of the random numbers.

    Raises:
        ValueError: for a spec of another form, or two of one name.
    """
    if runs < 1 or seed < 0:
        raise ValueError(f"--runs wants 1 or more and --seed 0 or more, got {runs} and {seed}")
    columns: dict[str, list[Any]] = {}
    for spec in specs:
        name, text = _named("--sample", spec)
        if name in columns:
            raise ValueError(f"--sample: {name} is given twice")
        columns[name] = _drawn(spec, text, np.random.default_rng([seed, *name.encode()]).random(runs))
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _drawn(spec: str, text: str, draws: np.ndarray) -> list[Any]:
    kind, _, rest = text.partition(":")
    if kind == "choice" and rest.strip():
        choices = _split(rest)
        return [choices[int(u * len(choices))] for u in draws]
    try:
        low, high = map(int if kind == "int" else float, rest.split(":"))
        if not (low < high and math.isfinite(high - low) and (kind != "log" or low > 0)):
            raise ValueError
    except ValueError:
        raise ValueError(f"--sample: got {spec!r}, wanted NAME={_KINDS}, LOW below HIGH") from None
    if kind == "int":
        return [low + int(u * (high - low + 1)) for u in draws]
    if kind == "uniform":
        values = low + draws * (high - low)
    elif kind == "log":
        values = np.exp(np.log(low) + draws * (np.log(high) - np.log(low)))
    else:
        raise ValueError(f"--sample: got {spec!r}, wanted NAME={_KINDS}")
    # six digits can be typed again, and are never outside the ends
    return [min(max(float(f"{value:.6g}"), low), high) for value in values]


def chapter(name: str, root: Path) -> Path:
    """Path of a chapter, by its name or its path; ValueError when there is none."""
    there = {path.stem: path for path in sorted((root / "chapters").glob("*.ipynb"))}
    if name in there:
        return there[name]
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    raise ValueError(f"no such chapter: {name}; there are {', '.join(there)}, or give the path of a notebook")


def plan(notebook: Path, scale: str, fixed: Mapping[str, Any], sets: Sequence[Mapping[str, Any]]) -> Plan:
    """Check a whole sweep.

    Args:
        notebook: the chapter.
        scale: whose parameters are the base: ``full`` for the notebook's defaults, ``preview`` or ``smoke``.
        fixed: parameters of all runs.
        sets: those of each run.

    Returns:
        The plan, equal sets taken once.

    Raises:
        ValueError: listing every fault with the runs that have it.
    """
    schema, content = params.schema(notebook), run.load(notebook)
    base = {} if scale == "full" else content.metadata.get("sgd_book", {}).get(scale)
    if base is None:
        raise ValueError(f"{notebook.name}: its metadata sgd_book names no parameters for {scale!r}")
    if both := sorted(set(fixed).intersection(*[set().union(*sets)])):
        raise ValueError(f"{', '.join(both)}: fixed by -p and swept as well, wanted one of them")
    faults: dict[str, list[int]] = {}
    runs, repeated = {}, 0
    for number, own in enumerate(sets, 1):
        given = {**base, **fixed, **own}
        try:
            values = params.check(schema, given)
        except params.ParameterError as error:
            lines = str(error).splitlines()
            for line in lines[1:] or lines:  # the first of several only counts them
                faults.setdefault(line.strip(), []).append(number)
            continue
        name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
        repeated += name in runs
        one = Run(len(runs) + 1, {key: values[key] for key in given}, values, name)
        runs.setdefault(name, one)
    if faults:
        lines = [f"  {_numbers(numbers)}: {fault}" for fault, numbers in faults.items()]
        raise ValueError("\n".join([f"the sweep of {notebook.stem} is refused, nothing was run", *lines]))
    every = tuple(runs.values())
    asked = dict.fromkeys(name for own in sets for name in own)
    units = {param.name: param.unit for param in schema}
    swept = {name: units[name] for name in asked if len({json.dumps(one.values[name]) for one in every}) > 1}
    return Plan(notebook, nbformat.writes(content), scale, every, swept, repeated)


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
    return f"run {shown}" if len(numbers) == 1 else f"runs {shown}"


def check_measure(plan: Plan, measure: str, root: Path) -> None:
    """Refuse a measure that no run of the chapter can give, as far as that is known before one has run.

    Known are the claims and numbers of the chapter's executed copies, its recorded claims, and every name
    that stands in its code.

    Raises:
        ValueError: listing what there is.
    """
    notebook = json.loads(plan.text)
    copies = root.glob(f"_build/executed/*/{plan.notebook.stem}.ipynb")
    there = dict.fromkeys(record.read(root / record.VERDICTS).get(plan.notebook.stem, {}))
    for copy in copies:
        with contextlib.suppress(OSError, ValueError, KeyError):
            there |= dict.fromkeys(summary.measures(json.loads(copy.read_text("utf-8"))))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if measure in there or any(pattern.fullmatch(measure) for text in code for pattern in _names(text)):
        return
    known = ", ".join(there) or "what there is shows after a first run"
    raise ValueError(f"measure: got {measure!r}, {plan.notebook.stem} has: {known}")


def _names(code: str) -> Iterator[re.Pattern[str]]:
    """What names a cell may give to claims and numbers: its texts, also those with values put in."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(code))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        fixed = [p.value if isinstance(p, ast.Constant) and isinstance(p.value, str) else None for p in parts]
        if sum(len(part) for part in fixed if part) >= 2:
            pattern = "".join(".+" if part is None else re.escape(part) for part in fixed)
            yield re.compile(f"(?:{pattern})(?:_low|_high|_n)?")


# ---- one run, wherever it is computed --------------------------------------------------------------------


def execute(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one set of parameters in a process that has one thread.

    Args:
        job: plain data: the chapter's ``name``, the notebook's ``text``, the parameters ``given``, the
            content ``key`` that the copy must get; ``root`` of the project and a ``folder`` for files under
            way, None for those of the machine that computes.

    Returns:
        Plain data: ``notebook``, the text of what was executed, or None when there is none; ``failed``, why
        the run failed, or None when it did not; ``seconds`` that it took.
    """
    cluster.alone()
    root, start = Path(job["root"] or ROOT), time.monotonic()
    if job["folder"]:
        Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        notebook, out = Path(folder, f"{job['name']}.ipynb"), Path(folder, "out", f"{job['name']}.ipynb")
        notebook.write_text(job["text"], "utf-8")
        failed = None
        try:
            executed = run.run(notebook, out, job["given"], Progress("", stream=io.StringIO()), root)
            if executed.metadata[gate.RUN_METADATA]["key"] != job["key"]:
                failed = "the library, the requirements or Python differ from those of who asked for it"
        except (run.RunError, ValueError) as error:
            failed = run.reason(error)
        kept = [path for path in (out, out.with_name(f"{out.stem}.failed.ipynb")) if path.exists()]
        text = kept[0].read_text("utf-8") if kept else None
    return {"notebook": text, "failed": failed, "seconds": time.monotonic() - start}


# ---- the results so far ----------------------------------------------------------------------------------


class Results:
    """The folder of a sweep: executed copies, and the table and page made from them."""

    def __init__(self, plan: Plan, out: Path, root: Path, measure: str | None) -> None:
        """Takes stock of what is there; nothing is written.

        Args:
            plan: the sweep.
            out: its folder.
            root: the project's folder.
            measure: what the figure shows, None for the chapter's first claim.
        """
        self.plan, self.out, self.measure = plan, out, measure
        keys = run.content_keys(json.loads(plan.text), [one.values for one in plan.runs], root)
        self.keys = {one.name: key for one, key in zip(plan.runs, keys, strict=True)}
        self.records = {one.name: self._found(one) for one in plan.runs}

    def path(self, one: Run, failed: bool = False) -> Path:
        """Of a run's executed copy, or of what is kept of one that failed."""
        return self.out / "runs" / f"{one.name}{'.failed' if failed else ''}.ipynb"

    def _found(self, one: Run) -> dict[str, Any]:
        """A run's record from what is kept of it."""
        for failed in (False, True):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                notebook = json.loads(self.path(one, failed).read_text("utf-8"))
                about = notebook["metadata"][gate.RUN_METADATA]
                if about["key"] == self.keys[one.name]:
                    return self._record(one, notebook, about)
        return summary.record(one.number, one.values, "not run")

    def _record(self, one: Run, notebook: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
        state = "failed" if "failed" in about else "done"
        place = self.path(one, state == "failed").relative_to(self.out).as_posix()
        about = {"reason": about.get("failed", ""), "seconds": about["seconds"]}
        return summary.record(one.number, one.values, state, notebook, place, **about)

    @property
    def todo(self) -> list[Run]:
        """Runs that are not done, in order."""
        return [one for one in self.plan.runs if self.records[one.name]["status"] != "done"]

    def count(self, status: str) -> int:
        """How many runs are ``done``, ``failed`` or ``not run``."""
        return sum(each["status"] == status for each in self.records.values())

    def seconds(self) -> list[float]:
        """What each finished run took."""
        return [each["seconds"] for each in self.records.values() if each["status"] == "done"]

    def keep(self, one: Run, result: Mapping[str, Any]) -> None:
        """Keep what came out of a run."""
        failed = result["failed"]
        notebook = nbformat.reads(result["notebook"] or self.plan.text, as_version=4)
        about = {"key": self.keys[one.name], "seconds": round(result["seconds"], 1)}
        about |= {"failed": failed} if failed else {}
        notebook.metadata[gate.RUN_METADATA] = about
        run.write(self.path(one, bool(failed)), nbformat.writes(notebook))
        if not failed:
            self.path(one, failed=True).unlink(missing_ok=True)
        self.records[one.name] = self._record(one, notebook, about)

    def write(self) -> None:
        """Write table and page of all that is known now."""
        made = {
            "chapter": self.plan.notebook.stem,
            "base": self.plan.scale,
            "swept": self.plan.swept,
            "measure": self.measure,
        }
        records = list(self.records.values())
        run.write(self.out / "results.json", summary.as_json(made, records))
        run.write(self.out / "results.csv", summary.as_csv(made, records))
        run.write(self.out / "index.html", summary.html(made, records))


# ---- many runs -------------------------------------------------------------------------------------------


class _Local:
    """This machine: a process for each core, bound to it."""

    def __init__(self, workers: int) -> None:
        self.workers, self._breaks = workers, 0

    def submit(self, job: Mapping[str, Any]) -> Future:
        return worker.pool(self.workers).submit(execute, job)

    def wait(self, futures: Mapping[Future, Any], seconds: float) -> set[Future]:
        return wait(futures, seconds, FIRST_COMPLETED)[0]

    def again(self, error: BrokenExecutor) -> None:
        """Start new processes; gives up where they do not live."""
        worker.restart(self.workers)
        self._breaks += 1
        if self._breaks > _RESTARTS:
            words = f"processes that run chapters were ended from outside {self._breaks} times"
            raise SweepError(f"{words}, for lack of memory perhaps") from error

    def close(self) -> None:
        worker.restart(self.workers)


class _Remote:
    """A Dask cluster."""

    def __init__(self, address: str, say: Callable[[str], None]) -> None:
        self._cluster = cluster.Cluster(address, same_processor=False, say=say)
        self.wait, self.close = self._cluster.wait, self._cluster.close

    @property
    def workers(self) -> int:
        return self._cluster.workers

    def submit(self, job: Mapping[str, Any]) -> Future:
        return self._cluster.submit("book.sweep", "execute", job)


def finished(
    place: Any, jobs: Mapping[str, Mapping[str, Any]], tick: Callable[[int], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Results of jobs as they come, as many at once as the place has workers.

    Args:
        place: where they are computed.
        jobs: by name.
        tick: called every second with the number under way.

    Yields:
        Pairs (name, what `execute` gave).

    Raises:
        SweepError, ClusterError: the place is lost.
    """
    waiting, running = list(reversed(jobs)), {}
    while waiting or running:
        try:
            while waiting and len(running) < place.workers:
                name = waiting[-1]  # taken off once it is under way: a worker may be gone already
                running[place.submit(jobs[name])] = name
                waiting.pop()
            tick(len(running))
            for future in place.wait(running, 1.0):
                name, start = running[future], time.monotonic()
                try:
                    with cluster.lost_worker():
                        result = future.result()
                except BrokenExecutor:
                    raise
                except (RuntimeError, OSError) as error:
                    if isinstance(error, cluster.ClusterError):
                        raise
                    result = {"notebook": None, "failed": str(error), "seconds": time.monotonic() - start}
                del running[future]
                yield name, result
        except BrokenExecutor as error:
            place.again(error)
            waiting += reversed(running.values())
            running.clear()


def sweep(
    results: Results,
    place: Any,
    root: Path | None,
    say: Callable[[str], None],
    estimate: float | None = None,
) -> None:
    """Run what is not done, and keep table and page up to date.

    Args:
        results: of the sweep; each run is kept there as it ends.
        place: where runs are computed.
        root: the project's folder, None for that of the machine that computes.
        say: takes messages.
        estimate: seconds that a run may take, None when unknown.

    Raises:
        SweepError, ClusterError: the sweep stopped before its end. What was finished is kept.
    """
    todo = results.todo
    folder = None if root is None else str(results.out / ".running")
    common = {"name": results.plan.notebook.stem, "text": results.plan.text}
    common |= {"root": None if root is None else str(root), "folder": folder}
    jobs = {one.name: common | {"given": one.given, "key": results.keys[one.name]} for one in todo}
    runs, next_writing = {one.name: one for one in todo}, time.monotonic() + _REFRESH_SECONDS
    progress = _Progress(results, len(todo), estimate)
    try:
        with progress:
            for name, result in finished(place, jobs, lambda under: progress.tick(under, place.workers)):
                results.keep(runs[name], result)
                progress.ended(result["failed"])
                if results.measure and not result["failed"]:
                    there = summary.measures(json.loads(result["notebook"]))
                    if results.measure not in there:
                        raise SweepError(f"measure: got {results.measure!r}, there is: {', '.join(there)}")
                if (start := time.monotonic()) > next_writing:
                    results.write()
                    took = time.monotonic() - start
                    next_writing = start + max(_REFRESH_SECONDS, took / _REFRESH_SHARE)
    finally:
        place.close()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        results.write()


class _Progress:
    """How far a sweep is, on stderr: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, results: Results, total: int, estimate: float | None) -> None:
        self._results, self._total, self._estimate = results, total, estimate
        self._done = self._failed = self._under = 0
        self._workers, self._start, self._said = 1, time.monotonic(), time.monotonic()
        self._bar: tqdm | None = None

    def __enter__(self) -> "_Progress":
        if sys.stderr.isatty() and self._total:
            form = "{n}/{total} runs |{bar:20}| {postfix}"
            self._bar = tqdm(total=self._total, leave=False, dynamic_ncols=True, bar_format=form)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def ended(self, failed: str | None) -> None:
        self._done += 1
        self._under -= 1
        self._failed += bool(failed)
        self._show(now=self._bar is not None or self._done == self._total)

    def tick(self, under: int, workers: int) -> None:
        self._under, self._workers = under, workers
        self._show(now=self._bar is not None)

    def _show(self, now: bool) -> None:
        if not now and time.monotonic() - self._said < _LOG_SECONDS:
            return
        self._said = time.monotonic()
        spent = self._said - self._start
        took = self._results.seconds()
        each = sum(took) / len(took) if took else self._estimate
        left = None if each is None else lasts(self._total - self._done, self._workers, each)
        if left is not None and self._under:  # those under way are half done, on average
            left = max(0.0, left - each / 2)
        text = f"{self._under} under way, {self._failed} failed, {clock(spent)} so far, {clock(left)} left"
        if self._bar is not None:
            self._bar.n = self._done
            self._bar.set_postfix_str(text)
        else:
            sys.stderr.write(f"{self._done} of {self._total} runs ended, {text}\n")


def lasts(runs: int, workers: int, seconds: float) -> float:
    """Seconds until runs of equal length are through, each worker taking the next when it is free."""
    return math.ceil(runs / workers) * seconds


def estimate(results: Results, root: Path) -> tuple[float | None, str]:
    """Seconds that one run may take, and from what that was judged."""
    took = results.seconds()
    if took:
        return sum(took) / len(took), f"the mean of {len(took)} finished run(s) of this sweep"
    chapter, scale = results.plan.notebook.stem, results.plan.scale
    cells = record.read(root / record.TIMINGS).get(scale, {}).get(chapter)
    if cells:
        words = (
            f"{record.TIMINGS}, the chapter at scale {scale} with all cores of the machine that recorded it"
        )
        return sum(cells.values()), f"{words}; other parameters take other times"
    return (
        None,
        f"unknown: no run of this sweep is finished, and {record.TIMINGS} has no time at scale {scale}",
    )


# ---- command line ----------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Writes a line to the terminal at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m book.sweep",
        description="Run a chapter over many sets of parameters; done runs are never run again.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("chapter", help="name of a chapter, or path of a notebook like one")
    which = parser.add_argument_group("which runs (one of the first three)")
    which.add_argument("--grid", action="append", metavar="NAME=V,V", help="values; repeat for combinations")
    which.add_argument("--list", type=Path, metavar="FILE", help="CSV (a line each) or JSON (an object each)")
    which.add_argument(
        "--sample", action="append", metavar="NAME=KIND", help=f"random values: {_KINDS}; repeat for more"
    )
    which.add_argument("--runs", type=int, metavar="N", help="size of the sample")
    which.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample (default 0)")
    fixed = {"nargs": 2, "action": "append", "default": [], "metavar": ("NAME", "VALUE")}
    which.add_argument("-p", dest="fixed", **fixed, help="a parameter of all runs; may be repeated")
    base = which.add_mutually_exclusive_group()
    for scale, text in (("preview", "the reduced parameters"), ("smoke", "the smallest parameters")):
        base.add_argument(
            f"--{scale}", dest="scale", action="store_const", const=scale, help=f"start from {text}"
        )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--dry-run", action="store_true", help="check, show runs and estimated time, run nothing"
    )
    how.add_argument("--measure", metavar="NAME", help="claim or number to draw (default the first claim)")
    how.add_argument("--out", type=Path, metavar="DIR", help="default _build/sweeps/<chapter>-<hash>")
    how.add_argument("--workers", type=int, metavar="N", help="runs at once here (default one for each core)")
    how.add_argument("--scheduler", metavar="ADDRESS", help="run on a Dask cluster, e.g. tcp://host:8786")
    return parser


def _sets(given: argparse.Namespace) -> list[dict[str, Any]]:
    kinds = [name for name in ("grid", "list", "sample") if getattr(given, name) is not None]
    if len(kinds) != 1:
        got = " and ".join(f"--{kind}" for kind in kinds) or "none"
        raise ValueError(f"wanted one of --grid, --list and --sample, got {got}")
    if (given.runs is None) == (kinds == ["sample"]):
        raise ValueError("--runs N belongs to --sample, and --sample wants it")
    if kinds == ["sample"]:
        return sample(given.sample, given.runs, given.seed)
    return grid(given.grid) if kinds == ["grid"] else listed(given.list)


def _show(results: Results, each: float | None, source: str, workers: int) -> None:
    """What a dry run says."""
    plan = results.plan
    rows = [
        (
            one.number,
            *(summary.shown(one.values[name]) for name in plan.swept),
            results.records[one.name]["status"],
        )
        for one in plan.runs
    ]
    say(record.table(rows, ("run", *plan.swept, "status")))
    todo = len(results.todo)
    say(f"{todo} to run of {len(plan.runs)}, {workers} at once; results in {os.path.relpath(results.out)}")
    if todo:
        left = "" if each is None else f"about {clock(lasts(todo, workers, each))}: {clock(each)} each, from "
        say(f"time: {left}{source}")


@contextlib.contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder of a sweep, for this process alone; ValueError when another one has it."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another sweep is writing to {os.path.relpath(out)}") from None
        yield


def _command(given: argparse.Namespace, root: Path) -> int:
    path = chapter(given.chapter, root)
    if given.workers is not None and (given.workers < 1 or given.scheduler):
        raise ValueError(
            "--workers: wanted 1 or more, and none with --scheduler, which has workers of its own"
        )
    work = plan(path, given.scale or "full", dict(given.fixed), _sets(given))
    if given.measure:
        check_measure(work, given.measure, root)
    text = json.dumps([one.given for one in work.runs], sort_keys=True)
    short = hashlib.sha256(text.encode()).hexdigest()[:8]
    out = (given.out or root / "_build" / "sweeps" / f"{path.stem}-{short}").resolve()
    results = Results(work, out, root, given.measure)
    each, source = estimate(results, root)
    if work.repeated:
        say(f"{work.repeated} set(s) of parameters left out, each equal to one before it")
    workers = min(given.workers or len(worker.cores()), len(work.runs))
    if given.dry_run:
        _show(results, each, source, workers)
        return 0
    done, todo = results.count("done"), len(results.todo)
    say(f"{path.stem}: {todo} to run" + (f", {done} done before" if done else ""))
    status = 0
    with _held(out):
        try:
            if not todo:
                results.write()
            elif given.scheduler:
                sweep(results, _Remote(given.scheduler, say), None, say, each)
            else:
                sweep(results, _Local(workers), root, say, each)
        except (SweepError, cluster.ClusterError) as error:
            sys.stderr.write(f"{error}\n")
            say(f"{results.count('done')} runs are kept; the same command goes on from there")
            status = 1
        except KeyboardInterrupt:
            say("\ninterrupted; what was finished is kept, the same command goes on from there")
            status = 130
    for each in results.records.values():
        if each["status"] == "failed":
            say(f"run {each['run']} FAILED: {each['reason']} (kept at {each['notebook']})")
    say(f"{results.count('done')} of {len(work.runs)} done, {results.count('failed')} failed")
    say(f"results: {os.path.relpath(out / 'index.html')}, results.csv, results.json")
    return status or int(results.count("failed") > 0)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status."""
    given = _parser().parse_args(arguments)
    logging.getLogger("asyncio").setLevel(
        logging.CRITICAL
    )  # what an interruption leaves behind complains there
    try:
        return _command(given, root)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, cluster.ClusterError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    from book import sweep  # by its own name, under which workers find it

    sys.exit(sweep.main())
