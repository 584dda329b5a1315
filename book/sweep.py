"""Runs a chapter over many sets of parameters: a grid, a list, or a random sample.

All sets are checked before the first run starts. Each run has a core to itself, on this machine or on a Dask
cluster. What is done is not run again; what fails is kept beside it and stops no other run.
"""

import contextlib
import csv
import fcntl
import functools
import io
import itertools
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import nbformat
import numpy as np
from tqdm import tqdm

from book import contents, gate, record, run, summary
from book.progress import Progress
from lib.ensembles import cluster, machine, places, store
from lib.page import params
from lib.page.text import expressions

_REFRESH_SECONDS = 20.0  # at least, between two writings of the results while runs finish
_REFRESH_SHARE = 0.02  # of the time, at most, for writing them
_LOG_SECONDS = 30.0
_SCALES = run.SCALES[::-1]  # a larger one takes longer


class Run(NamedTuple):
    """A checked set of parameters: its number, those given, all of them, and a name made from the values."""

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
        runs: all of them, in the order asked for, equal ones once.
        swept: units of the parameters that differ between runs, by name.
    """

    notebook: Path
    text: str
    scale: str
    runs: tuple[Run, ...]
    swept: dict[str, str]


# ---- which runs ------------------------------------------------------------------------------------------


def _named(option: str, texts: Sequence[str]) -> dict[str, str]:
    """What stands behind each ``NAME=``."""
    found: dict[str, str] = {}
    for name, equals, values in (text.partition("=") for text in texts):
        if not (name.strip() and equals and values.strip()):
            raise ValueError(f"{option}: got {name + equals + values!r}, wanted NAME=...")
        if name.strip() in found:
            raise ValueError(f"{option}: {name.strip()} is given twice")
        found[name.strip()] = values.strip()
    return found


def _split(text: str) -> list[str]:
    """Values between commas; commas within brackets belong to a list."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


def grid(axes: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of the values of axes ``NAME=VALUE,VALUE,...``, the last one changing fastest.

    Raises:
        ValueError: for an axis of another form, or two of one name.
    """
    values = {name: _split(text) for name, text in _named("--grid", axes).items()}
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def listed(path: Path) -> list[dict[str, Any]]:
    """Sets of parameters from a file.

    Args:
        path: a CSV file whose first line names the parameters (an empty cell leaves one at its base), or a
            JSON file that holds a list of objects.

    Raises:
        ValueError: naming what is wrong with the file.
    """
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".json":
            sets = json.loads(text)
            if not isinstance(sets, list) or not sets or not all(isinstance(each, dict) for each in sets):
                raise ValueError("wanted a list of objects, one for each run")
            return sets
        if path.suffix.lower() != ".csv":
            raise ValueError("wanted a file that ends in .csv or .json")
        rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if any(row)]
        names = [name.strip() for name in rows[0]] if rows else []
        if len(rows) < 2 or not all(names) or len(set(names)) < len(names):
            raise ValueError("wanted a line of names, each once, and a line for each run")
        for number, row in enumerate(rows[1:], 1):
            if len(row) != len(names):
                raise ValueError(f"run {number}: {len(row)} values for {len(names)} names")
    except (OSError, ValueError) as error:
        raise ValueError(f"--list: cannot read {path}: {error}") from None
    return [{n: v.strip() for n, v in zip(names, row, strict=True) if v.strip()} for row in rows[1:]]


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
    columns: dict[str, list[Any]] = {}
    for name, spec in _named("--sample", specs).items():
        columns[name] = _drawn(name, spec, np.random.default_rng([seed, *name.encode()]).random(runs))
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _drawn(name: str, spec: str, draws: np.ndarray) -> list[Any]:
    kind, _, rest = spec.partition(":")
    if kind == "choice" and rest.strip():
        choices = _split(rest)
        return [choices[int(u * len(choices))] for u in draws]
    try:
        low, high = map(int if kind == "int" else float, rest.split(":"))
        if not (kind in ("int", "uniform", "log") and low < high and math.isfinite(high - low)):
            raise ValueError
        if kind == "int":
            return [low + int(u * (high - low + 1)) for u in draws]
        first, last = map(math.log, (low, high)) if kind == "log" else (low, high)
    except ValueError:
        wanted = "NAME=KIND:LOW:HIGH, LOW below HIGH, KIND uniform, log or int, or NAME=choice:V,V,..."
        raise ValueError(f"--sample: got {name}={spec!r}, wanted {wanted}") from None
    values = first + draws * (last - first)
    # six digits can be typed again, and are never outside the ends
    return [min(max(float(f"{v:.6g}"), low), high) for v in (np.exp(values) if kind == "log" else values)]


def chapter(name: str, root: Path) -> Path:
    """Path of a chapter, by its name or its path; ValueError when there is none."""
    there = {path.stem: path for path in sorted((root / "chapters").glob("*.ipynb"))}
    if name in there:
        return there[name]
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    raise ValueError(f"no such chapter: {name}; there are {', '.join(there)}, or give the path of a notebook")


def plan(notebook: Path, scale: str, fixed: Mapping[str, Any], sets: Sequence[Mapping[str, Any]]) -> Plan:
    """Check a whole sweep of a chapter: a scale as its base, parameters of all runs, and those of each.

    Raises:
        ValueError: listing every fault with the runs that have it.
    """
    schema, content = params.schema(notebook), run.load(notebook)
    base = run.reduced(notebook, scale)
    asked = dict.fromkeys(name for own in sets for name in own)
    if both := sorted(set(fixed) & set(asked)):
        raise ValueError(f"{', '.join(both)}: fixed by -p and swept as well, wanted one of them")
    faults: dict[str, list[int]] = {}
    runs: dict[str, Run] = {}
    for number, own in enumerate(sets, 1):
        given = {**base, **fixed, **own}
        try:
            values = params.check(schema, given)
        except params.ParameterError as error:
            lines = str(error).splitlines()
            for line in lines[1:] or lines:  # the first of several only counts them
                faults.setdefault(line.strip(), []).append(number)
            continue
        name = store.digest(values)[:12]
        runs.setdefault(name, Run(len(runs) + 1, {key: values[key] for key in given}, values, name))
    if faults:
        lines = [f"the sweep of {notebook.stem} is refused, nothing was run"]
        for fault, numbers in faults.items():
            more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
            few = ", ".join(map(str, numbers[:5]))
            lines.append(f"  run{'s' if len(numbers) > 1 else ''} {few}{more}: {fault}")
        raise ValueError("\n".join(lines))
    units = {param.name: param.unit for param in schema}
    every = tuple(runs.values())
    swept = {name: units[name] for name in asked if len({json.dumps(one.values[name]) for one in every}) > 1}
    return Plan(notebook, nbformat.writes(content), scale, every, swept)


def check_measure(plan: Plan, measure: str, root: Path) -> None:
    """Refuse a measure that no run of the chapter can give, as far as that is known before one has run.

    Known are the claims and numbers of the chapter's executed copies, its recorded claims, the fields of its
    text, and every name that stands between quotes in its code, whatever comes to stand between braces.

    Raises:
        ValueError: listing what there is.
    """
    there = dict.fromkeys(record.read(root / record.VERDICTS)[0].get(plan.notebook.stem, {}))
    for copy in root.glob(f"_build/executed/*/{plan.notebook.stem}.ipynb"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            there |= dict.fromkeys(summary.measures(json.loads(copy.read_text("utf-8"))))
    cells = nbformat.reads(plan.text, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    there |= dict.fromkeys(expressions(code))
    for quoted in re.findall(r"""\"([^"\n]+)"|'([^'\n]+)'""", code):
        parts = re.split(r"\{[^{}]*\}", "".join(quoted))
        if sum(map(len, parts)) >= 2 and re.fullmatch(".+".join(map(re.escape, parts)), measure):
            return
    if measure not in there:
        known = ", ".join(there) or "what there is shows after a first run"
        raise ValueError(f"measure: got {measure!r}, {plan.notebook.stem} has: {known}")


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
    places.alone()
    root, start = Path(job["root"] or contents.ROOT), time.monotonic()
    if job["folder"]:
        Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        notebook, out = Path(folder, f"{job['name']}.ipynb"), Path(folder, "out", f"{job['name']}.ipynb")
        notebook.write_text(job["text"], "utf-8")
        failed = None
        try:
            values = params.check(params.schema(notebook), job["given"])
            if run.content_keys(run.load(notebook), [values], root, anywhere=True) != [job["key"]]:
                raise ValueError("library, versions or variables differ from those of who asked for it")
            run.run(notebook, out, job["given"], Progress("", stream=io.StringIO()), root)
        except (run.RunError, ValueError) as error:
            failed = run.reason(error)
        kept = [path for path in (out, out.with_name(f"{out.stem}.failed.ipynb")) if path.exists()]
        text = kept[0].read_text("utf-8") if kept else None
    return {"notebook": text, "failed": failed, "seconds": time.monotonic() - start}


# ---- the results so far ----------------------------------------------------------------------------------


class Results:
    """The folder of a sweep: executed copies, and the table and page made from them."""

    def __init__(self, plan: Plan, out: Path, root: Path, measure: str | None) -> None:
        """Takes stock of the folder and writes nothing; no measure stands for the chapter's first claim."""
        self.plan, self.out, self.measure = plan, out, measure
        values = [one.values for one in plan.runs]
        keys = run.content_keys(json.loads(plan.text), values, root, anywhere=True)
        self.keys = {one.name: key for one, key in zip(plan.runs, keys, strict=True)}
        self.records = {}
        for one in plan.runs:
            self.records[one.name] = summary.record(one.number, one.values, "not run")
            for failed in (True, False):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    self._take(one, json.loads(self.path(one, failed).read_text("utf-8")))

    def path(self, one: Run, failed: bool = False) -> Path:
        """Of a run's executed copy, or of what is kept of one that failed."""
        return self.out / "runs" / f"{one.name}{'.failed' if failed else ''}.ipynb"

    def _take(self, one: Run, notebook: Mapping[str, Any]) -> None:
        """Record a run from what is kept of it, if it is of the present chapter and library."""
        about = gate.sealed(notebook)
        if about.get("key") == self.keys[one.name]:
            state = "failed" if "failed" in about else "done"
            place = self.path(one, state == "failed").relative_to(self.out).as_posix()
            more = (place, about.get("failed", ""), about["seconds"])
            self.records[one.name] = summary.record(one.number, one.values, state, notebook, *more)

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
        gate.seal(notebook, about | ({"failed": failed} if failed else {}))
        store.put(self.path(one, bool(failed)), nbformat.writes(notebook).encode())
        if not failed:
            self.path(one, failed=True).unlink(missing_ok=True)
        self._take(one, notebook)

    def write(self) -> None:
        """Write table and page of all that is known now."""
        made = {"chapter": self.plan.notebook.stem, "base": self.plan.scale}
        made |= {"swept": self.plan.swept, "measure": self.measure}
        forms = {"results.json": summary.as_json, "results.csv": summary.as_csv, "index.html": summary.html}
        for name, form in forms.items():
            store.put(self.out / name, form(made, list(self.records.values())).encode())


# ---- many runs -------------------------------------------------------------------------------------------


def finished(
    place: places.Place, jobs: Mapping[str, Mapping[str, Any]], tell: Callable[[int, str], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `execute` gives of each job, by name, as it comes; for the arguments see `places.results`.

    A run that failed outside the chapter is told as failed.
    """
    begun: dict[str, float] = {}

    def arguments(name: str) -> tuple[Mapping[str, Any]]:
        begun[name] = time.monotonic()
        return (jobs[name],)

    tasks = {name: places.Task("book.sweep", "execute", functools.partial(arguments, name)) for name in jobs}
    with contextlib.closing(places.results(place, tasks, tell)) as coming:
        for name, outcome in coming:
            if isinstance(outcome, RuntimeError | OSError) and not isinstance(outcome, places.Lost):
                seconds = time.monotonic() - begun[name]
                outcome = {"notebook": None, "failed": str(outcome), "seconds": seconds}
            if isinstance(outcome, BaseException):
                raise outcome
            yield name, outcome


def carry_out(results: Results, place: places.Place, root: Path | None, each: float | None = None) -> None:
    """Run what is not done, and keep table and page up to date.

    Progress goes to stderr: a bar on a terminal, elsewhere a line now and then.

    Args:
        results: of the sweep; each run is kept there as it ends.
        place: where runs are computed.
        root: the project's folder, None for that of the machine that computes.
        each: seconds that a run may take, None when only a first run will tell.

    Raises:
        RuntimeError, places.Lost: the sweep stopped before its end. What was finished is kept.
    """
    runs, start = {one.name: one for one in results.todo}, time.monotonic()
    folder = root and str(results.out / ".running")
    common = {"name": results.plan.notebook.stem, "text": results.plan.text}
    common |= {"root": root and str(root), "folder": folder}
    jobs = {name: common | {"given": one.given, "key": results.keys[name]} for name, one in runs.items()}
    form, silent = "{n}/{total} runs |{bar:20}| {postfix}", not sys.stderr.isatty()
    bar = tqdm(total=len(runs), leave=False, dynamic_ncols=True, bar_format=form, disable=silent)
    done, failed, told = 0, 0, ""
    next_line, next_writing = start + _LOG_SECONDS, start + _REFRESH_SECONDS

    def tell(under: int, trouble: str = "") -> None:
        nonlocal next_line, told
        now, took = time.monotonic(), results.seconds()
        if silent and now < next_line and done < len(runs) and trouble == told:
            return
        told, next_line, mean = trouble, now + _LOG_SECONDS, sum(took) / len(took) if took else each
        left = "?"
        if mean is not None:  # those under way are half done, on average
            left = _clock(lasts(len(runs) - done, max(1, place.workers), mean) - mean / 2 * bool(under))
        parts = [f"{under} under way", f"{failed} failed", f"{_clock(now - start)} so far", f"{left} left"]
        text = ", ".join(filter(None, [trouble, *parts]))
        if silent:
            click.echo(f"{done} of {len(runs)} runs ended, {text}", err=True)
        bar.n, bar.postfix = done, text
        bar.refresh()

    try:
        for name, result in finished(place, jobs, tell):
            results.keep(runs[name], result)
            done, failed = done + 1, failed + bool(result["failed"])
            if results.measure and not result["failed"]:
                there = summary.measures(json.loads(result["notebook"]))
                if results.measure not in there:
                    raise RuntimeError(f"measure: got {results.measure!r}, there is: {', '.join(there)}")
            if (begin := time.monotonic()) > next_writing:
                results.write()
                took = time.monotonic() - begin
                next_writing = begin + max(_REFRESH_SECONDS, took / _REFRESH_SHARE)
        tell(0)
    finally:
        bar.close()
        place.close()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        results.write()


def _clock(seconds: float) -> str:
    return tqdm.format_interval(round(max(0.0, seconds)))


def lasts(runs: int, workers: int, seconds: float) -> float:
    """Seconds until runs of equal length are through, each worker taking the next when it is free."""
    return math.ceil(runs / workers) * seconds


def estimate(results: Results, root: Path, workers: int) -> tuple[float | None, str]:
    """How long a sweep will take, judged by its done runs, else by the chapter's recorded times.

    Returns:
        Seconds of one run, None where only a first one tells; and the time of all in words, with what it was
        judged by, or what to do where there is nothing to judge by.
    """
    name, scale = results.plan.notebook.stem, results.plan.scale
    (recorded, _), at = record.read(root / record.TIMINGS), _SCALES.index(scale)
    nearest, bound = (scale, *_SCALES[at + 1 :], *reversed(_SCALES[:at])), "about"
    other = next((other for other in nearest if recorded.get(other, {}).get(name)), None)
    if took := results.seconds():
        each, source = sum(took) / len(took), f"the mean of {len(took)} finished run(s) of this sweep"
    elif other:
        each = sum(recorded[other][name].values())
        source = f"from {record.TIMINGS}: the chapter at scale {other}, with all cores of its machine; "
        source += "a run here has one core, and other parameters take other times"
        if other != scale:
            bound = "more than" if _SCALES.index(other) < at else "less than"
            source += f"; at scale {scale} none is recorded"
    else:
        return None, f"time: {record.TIMINGS} has none of {name}; start the sweep, its first run will tell"
    whole = _clock(lasts(len(results.todo), workers, each))
    return each if bound == "about" else None, f"time: {bound} {whole}: {_clock(each)} each, {source}"


# ---- command line ----------------------------------------------------------------------------------------


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


def command(
    root: Path,
    name: str,
    axes: Sequence[str],
    file: Path | None,
    specs: Sequence[str],
    runs: int | None,
    seed: int | None,
    fixed: Sequence[tuple[str, str]],
    preview: bool,
    smoke: bool,
    dry_run: bool,
    measure: str | None,
    out: Path | None,
    workers: int | None,
    scheduler: str | None,
) -> int:
    """What ``sgd-book sweep`` does with its options, which `book.cli` describes.

    Returns:
        The exit status: 1 when any run failed.

    Raises:
        ValueError: for options that are not so, or cannot be together, before anything is run or said.
        OSError: when results cannot be written.
        RuntimeError, places.Lost: as `carry_out`.
    """
    given = [kind for kind, value in (("grid", axes), ("list", file), ("sample", specs)) if value]
    if len(given) != 1:
        got = " and ".join(f"--{kind}" for kind in given) or "none"
        raise ValueError(f"wanted one of --grid, --list and --sample, got {got}")
    if (runs is None) == bool(specs) or (seed is not None and not specs):
        raise ValueError("--runs N and --seed S belong to --sample, and --sample wants --runs N")
    if preview and smoke:
        raise ValueError("wanted one of --preview and --smoke, got both")
    if len(dict(fixed)) < len(fixed):
        raise ValueError(f"-p: wanted each name once, got {', '.join(each for each, _ in fixed)}")
    if workers and scheduler:
        raise ValueError("--workers: wanted none with --scheduler, which has its own")
    if scheduler:
        cluster.check_address("--scheduler", scheduler)
    if out:
        contents.check_elsewhere(root, "--out", out)
    path, scale = chapter(name, root), "preview" if preview else "smoke" if smoke else "full"
    sets = grid(axes) if axes else listed(file) if file else sample(specs, runs, seed or 0)
    common, *sets = (run.from_here(path, each, root) for each in (dict(fixed), *sets))
    work = plan(path, scale, common, sets)
    if measure:
        check_measure(work, measure, root)
    name = f"{path.stem}-{store.digest([one.given for one in work.runs])[:8]}"
    folder = out or root / "_build/sweeps" / name
    if not dry_run:
        store.check_writable(folder)
    results = Results(work, folder.resolve(), root, measure)
    if repeated := len(sets) - len(work.runs):
        click.echo(f"{repeated} set(s) of parameters left out, each equal to one before it")
    at_once = min(workers or machine.at_once(), len(work.runs))
    each, time_words = estimate(results, root, at_once)
    todo, done = len(results.todo), results.count("done")
    if dry_run:
        states = [one["status"] for one in results.records.values()]
        shown = [[summary.shown(one.values[name]) for name in work.swept] for one in work.runs]
        rows = [(k, *row, state) for k, (row, state) in enumerate(zip(shown, states, strict=True), 1)]
        click.echo(record.table(rows, ("run", *work.swept, "status")))
        place = f"{at_once} at once; results in {os.path.relpath(results.out)}"
        click.echo(f"{todo} to run of {len(rows)}, {place}")
    else:
        click.echo(f"{path.stem}: {todo} to run" + (f", {done} done before" if done else ""))
    if todo and (dry_run or not scheduler):
        click.echo(time_words)
    if dry_run:
        return 0
    with _held(results.out):
        try:
            if not todo:
                results.write()
            elif scheduler:
                carry_out(results, cluster.Cluster(scheduler, same_processor=False), None, each)
            else:
                carry_out(results, places.Processes(at_once), root, each)
        finally:  # also of a sweep that stops: what was finished is kept
            _tell(results)
    return int(results.count("failed") > 0)


def _tell(results: Results) -> None:
    """Say what came of a sweep."""
    for one in results.records.values():
        if one["status"] == "failed":
            click.echo(f"run {one['run']} FAILED: {one['reason']} (kept at {one['notebook']})")
    click.echo(f"{results.count('done')} of {len(results.records)} done, {results.count('failed')} failed")
    click.echo(f"results: {os.path.relpath(results.out / 'index.html')}, results.csv, results.json")
