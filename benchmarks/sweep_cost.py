"""What a sweep costs: how its time grows with its runs and falls with its workers.

Measured: a chapter at its smoke scale, a few runs with one worker and with two, all in one go so that the
ratios hold on a machine that is not quiet; what the one process that hands out the runs does for each of
them; and where the time of a run goes. Simulated from that: many runs on up to 1024 workers, each taking the
next run when it is free, while one process hands them out one after another.

    python benchmarks/sweep_cost.py [--chapter NAME] [--runs N] [--rounds R] [--json FILE]
    python benchmarks/sweep_cost.py [--chapter NAME] --runs N --workers W

The second form measures one sweep and says where its time went.
"""

import argparse
import contextlib
import heapq
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from book import summary, sweep
from lib.ensembles import cluster, machine, places

ROOT = Path(__file__).resolve().parents[1]
MANY = 4096  # runs of the simulated sweep
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
PROBES = 40  # calls that measure what a run costs beside its own time


def timed(function, *arguments):
    """Result and seconds."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def one_sweep(chapter: str, runs: int, workers: int, folder: Path) -> tuple[float, sweep.Results]:
    """Seconds that a sweep takes with nothing computed before, and what came out."""
    os.environ["SGD_BOOK_CHUNKS"] = str(folder / "chunks")
    sets = [{"first_seed": 1000 + k} for k in range(runs)]
    plan = sweep.plan(sweep.chapter(chapter, ROOT), "smoke", {}, sets)
    results = sweep.Results(plan, folder / "out", ROOT, None)
    with contextlib.redirect_stderr(io.StringIO()):
        _, seconds = timed(sweep.carry_out, results, places.Processes(workers), ROOT)
    if results.count("done") != runs:
        raise SystemExit(f"{results.count('failed')} of {runs} runs failed")
    return seconds, results


def measured(chapter: str, runs: int, rounds: int) -> dict:
    """Times of sweeps of `runs` and half as many with one worker, and of `runs` with two."""
    cases = {"half, 1 worker": (runs // 2, 1), "all, 1 worker": (runs, 1), "all, 2 workers": (runs, 2)}
    times, own = {name: [] for name in cases}, []
    for _ in range(rounds):
        for name, (count, workers) in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds, results = one_sweep(chapter, count, workers, Path(folder))
                times[name].append(seconds)
                if workers == 1:
                    own += results.seconds()
                last = {
                    "texts": texts(results),
                    "records": list(results.records.values()),
                    "plan": results.plan,
                }
    return {"times": times, "own": own, **last}


def texts(results: sweep.Results) -> list[str]:
    """The executed copies of a sweep."""
    return [results.path(one).read_text("utf-8") for one in results.plan.runs]


def spent(text: str) -> dict[str, float]:
    """Where the seconds of a run went, by the times in its notebook."""
    notebook = nbformat.reads(text, as_version=4)
    found, trained = (
        dict.fromkeys(("imports", "training and measuring", "figures, text and claims"), 0.0),
        False,
    )
    for cell in notebook.cells:
        about = cell.metadata.get("papermill", {})
        if cell.cell_type != "code" or not about.get("duration"):
            continue
        kind = "figures, text and claims" if trained and cell.outputs else "training and measuring"
        found[kind if trained else "imports"] += about["duration"]
        trained = trained or "import ensemble" in cell.source
    whole = notebook.metadata["papermill"]["duration"]
    return found | {"kernel's start and end": whole - sum(found.values())}


def handing_out(found: dict) -> dict[str, float]:
    """Seconds that the process that hands out the runs spends on each, and on writing the results of many."""
    result = {"notebook": found["texts"][-1], "failed": None, "seconds": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        results = sweep.Results(found["plan"], Path(folder), ROOT, None)
        one = results.plan.runs[0]
        keep = statistics.median(timed(results.keep, one, result)[1] for _ in range(PROBES))
    many = [record | {"run": k} for k, record in enumerate((found["records"] * MANY)[:1000], 1)]
    made = {"chapter": "x", "base": "smoke", "swept": {"first_seed": "seed"}, "measure": None}
    for k, record in enumerate(many):
        record["parameters"] = record["parameters"] | {"first_seed": k}
    write = sum(timed(form, made, many)[1] for form in (summary.as_json, summary.as_csv, summary.html))
    return {"keep": keep, "write 1000": write}


def over_tcp(found: dict) -> float | None:
    """Seconds for a job of a run's size to go to a Dask worker and come back, of many; None without Dask."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        place, environment = Path(folder, "scheduler.json"), {**os.environ, "PYTHONPATH": str(ROOT)}

        def start(name: str, *options: str) -> None:
            words = [sys.executable, "-m", f"distributed.cli.{name}", "--no-dashboard", *options]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(words, env=environment, cwd=folder, **quiet)
            ends.callback(lambda: (process.terminate(), process.wait()))

        start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(place))
        while not place.exists() or not place.read_text().strip().endswith("}"):
            time.sleep(0.05)
        address = json.loads(place.read_text())["address"]
        for _ in range(2):
            start("dask_worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny")
        with contextlib.closing(cluster.Cluster(address, same_processor=False)) as there:

            def there_and_back(count: int) -> None:
                futures = [there.submit("builtins", "str", found["texts"][-1] + str(k)) for k in range(count)]
                for future in futures:
                    future.result()

            there_and_back(4)
            return timed(there_and_back, PROBES)[1] / PROBES


def simulated(durations: list[float], each: float, write: float, runs: int, workers: int) -> float:
    """Seconds of a sweep whose runs are handed out, and their results kept, by one process, one at a time.

    Args:
        durations: that runs had; they are drawn from.
        each: seconds that the one process spends on each run.
        write: seconds that it spends, now and then, on writing the results of 1000 runs.
        runs: number of runs.
        workers: number of workers.
    """
    draw = random.Random(0)
    free, now, next_writing = [0.0] * workers, 0.0, sweep._REFRESH_SECONDS
    for done in range(runs):
        now = max(now, heapq.heappop(free)) + each
        if now > next_writing:
            took = write * done / 1000
            next_writing = now + max(sweep._REFRESH_SECONDS, took / sweep._REFRESH_SHARE)
            now += took
        heapq.heappush(free, now + draw.choice(durations))
    return max(free) + write * runs / 1000


def tell_parts(copies: list[str]) -> dict[str, float]:
    """Seconds of each part of a run, means over executed copies; they are printed."""
    each = [spent(text) for text in copies]
    means = {name: statistics.mean(one[name] for one in each) for name in each[0]}
    print(f"of a run, mean of {len(each)}; a notebook of {statistics.mean(map(len, copies)) / 1e6:.2f} MB")
    for name, seconds in means.items():
        print(f"{name:24} {seconds:6.2f} s")
    return means


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--chapter", default="greedy_layerwise_training")
    parser.add_argument("--runs", type=int, default=4, help="of the larger sweep (4)")
    parser.add_argument("--rounds", type=int, default=1, help="times that each sweep is measured (1)")
    parser.add_argument("--workers", type=int, help="measure one sweep, with so many workers")
    parser.add_argument("--json", type=Path, help="write everything measured there")
    given = parser.parse_args()
    if given.workers and (given.json or given.rounds != 1):
        parser.error("--workers measures one sweep: wanted neither --rounds nor --json with it")
    if given.workers:
        with tempfile.TemporaryDirectory() as folder:
            seconds, results = one_sweep(given.chapter, given.runs, given.workers, Path(folder))
            each = seconds * given.workers / given.runs
            print(f"{given.runs} runs: {seconds:.1f} s, {each:.2f} of a worker for each")
            tell_parts(texts(results))
        return 0
    found = measured(given.chapter, given.runs, given.rounds)
    times = {name: statistics.median(values) for name, values in found["times"].items()}
    for name, values in found["times"].items():
        print(f"{name:16} {times[name]:7.1f} s  ({', '.join(f'{v:.1f}' for v in values)})")
    half, alone, two = times.values()
    grows, falls = alone / half, alone / two
    print(f"twice the runs take {grows:.2f} times as long; two workers are {falls:.2f} times as fast as one")
    print(f"cores here: {len(machine.cores())}")
    costs = handing_out(found) | {"over tcp": over_tcp(found)}
    own = statistics.median(found["own"])
    print(f"a run: {own:.1f} s")
    parts = tell_parts(found["texts"])
    for name, seconds in costs.items():
        print(f"{name:16} " + ("Dask is not installed" if seconds is None else f"{1000 * seconds:7.1f} ms"))
    each = costs["keep"] + (costs["over tcp"] or 0.0)
    rows = []
    print(f"\nsimulated: {MANY} runs; the chapter's smoke runs, and runs of ten minutes")
    print("workers   smoke: speed-up  efficiency   ten minutes: speed-up  efficiency")
    for workers in WORKERS:
        row = [workers]
        for durations in (found["own"], [600 * seconds / own for seconds in found["own"]]):
            alone = simulated(durations, each, costs["write 1000"], MANY, 1)
            row.append(alone / simulated(durations, each, costs["write 1000"], MANY, workers))
        rows.append(row)
        print(f"{workers:7} {row[1]:16.1f} {row[1] / workers:11.2f} {row[2]:23.1f} {row[2] / workers:11.2f}")
    print(f"one process hands out a run in {1000 * each:.0f} ms, which keeps busy at most")
    print(f"{own / each:.0f} workers with smoke runs, {600 / each:.0f} with runs of ten minutes")
    if given.json:
        keep = {
            "times": found["times"],
            "runs": found["own"],
            "costs": costs,
            "spent": parts,
            "simulated": rows,
        }
        given.json.write_text(json.dumps(keep, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
