"""A sweep is checked as a whole, runs in parallel, keeps what is done, and says what came out."""

import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jobs
import numpy as np
import pytest
import toy_book
from bs4 import BeautifulSoup

from book import cli, gate, summary, sweep
from lib import stats
from lib.ensembles import places, store

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds
# a chapter whose claim and number depend on its parameters, and that may fail, wait, or kill once who runs it
BODY = """import os, signal, time
from pathlib import Path
folder = Path(label.partition(" ")[2] or ".")
if label.startswith("wait") and size > 1:
    Path(folder, f"begun {size}").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.05)
if label.startswith("kill") and not Path(folder, f"killed {size}").exists():
    Path(folder, f"killed {size}").touch()
    os.kill(os.getppid(), signal.SIGKILL)
if label == "bad" and size > 2:
    raise ValueError("no <b>luck</b>")"""
VALUES = """SHOWN = {"square": [size**2, size**2 - 1, size**2 + 1, size], f"of-{label[:3]}": size}
FIELDS = {"myst": "x", "words": [], "values": SHOWN}
display({"text/markdown": "x", "application/vnd.sgd-book.text+json": FIELDS}, raw=True)"""
CLAIM = """RECORD["claims"][0].update(value=1.0 * size, interval=[size - 0.5, size + 0.5])
RECORD["claims"][0].update(would_hold="−100 to 3.5", would_fail="above 4.5")
words = [w for w, yes in (("holds", size + 0.5 <= 4), ("fails", size - 0.5 > 4)) if yes] + ["undecided"]
RECORD["claims"][0]["verdict"] = words[0]
display({"text/html": "<p>claims</p>", "application/vnd.sgd-book.claims+json": RECORD}, raw=True)"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one chapter of this kind, and no library."""
    chapter = toy_book.chapter(BODY, VALUES)
    record = toy_book.claim()
    chapter.cells[-2].source = f"RECORD = {record!r}\n{CLAIM}"
    toy_book.save(tmp_path / "project" / "chapters" / "toy.ipynb", chapter)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def toy(*arguments, chapter="toy"):
    """The exit status of the command."""
    return cli.main(["sweep", str(chapter), *map(str, arguments)], Path.cwd())


@pytest.fixture
def here(monkeypatch):
    """Runs are computed in this process."""
    monkeypatch.setattr(places, "Processes", lambda workers: places.Itself())


def planned(project, sets, scale="full", fixed=()):
    return sweep.plan(project / "chapters" / "toy.ipynb", scale, dict(fixed), sets)


def table(out):
    return list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))


# ---- which runs


def test_a_grid_is_every_combination_the_last_axis_fastest():
    assert sweep.grid(["a=1,2", "b= x , y"]) == [
        {"a": "1", "b": "x"}, {"a": "1", "b": "y"}, {"a": "2", "b": "x"}, {"a": "2", "b": "y"}
    ]  # fmt: skip
    assert sweep.grid(["rates=[0.1, 1],[3]"]) == [{"rates": "[0.1, 1]"}, {"rates": "[3]"}]


NO_AXES = ["a", "=1", "a=", "a=1 a=2"]
NO_SAMPLES = ["a", "a=1", "a=log:0:1", "a=uniform:2:1", "a=uniform:1", "a=int:1.5:3", "a=normal:0:1"]
NO_SAMPLES += ["a=choice:", "a=uniform:0:inf", "a=log:a:b", "a=uniform:1:2:3", "a=int:1:2 a=int:1:2"]


@pytest.mark.parametrize(
    ("option", "words"), [("--grid", w) for w in NO_AXES] + [("--sample", w) for w in NO_SAMPLES]
)
def test_an_axis_or_a_sample_of_another_form_is_refused(option, words):
    with pytest.raises(ValueError, match=option):
        sweep.grid(words.split()) if option == "--grid" else sweep.sample(words.split(), 3, 0)


def test_a_list_is_read_from_csv_and_json(tmp_path):
    sets = [{"size": "1", "label": "a, b"}, {"label": "c"}]
    (tmp_path / "a.csv").write_text('size, label\n1,"a, b"\n,c\n\n')
    assert sweep.listed(tmp_path / "a.csv") == sets
    (tmp_path / "a.json").write_text(json.dumps(sets))
    assert sweep.listed(tmp_path / "a.json") == sets


NO_LISTS = {
    "a line of names": [("csv", ""), ("csv", "size\n"), ("csv", ",b\n1,2\n"), ("csv", "size,size\n1,2\n")],
    "run 1: 1 values for 2 names": [("csv", "size,label\n1\n")],
    "cannot read .*a.json: Expecting": [("json", "{")],
    "wanted a list of objects": [("json", "{}"), ("json", "[]"), ("json", "[3]")],
    "ends in .csv or .json": [("txt", "size\n1\n")],
    "cannot read .*No such file": [("csv", None)],
}


@pytest.mark.parametrize("message", NO_LISTS)
def test_a_bad_list_is_refused(tmp_path, message):
    for kind, content in NO_LISTS[message]:
        if content is not None:
            (tmp_path / f"a.{kind}").write_text(content)
        with pytest.raises(ValueError, match=message):
            sweep.listed(tmp_path / f"a.{kind}")


def test_a_sample_is_within_its_ends_and_the_same_for_a_seed():
    specs = ["u=uniform:2:3", "l=log:1e-4:1", "i=int:3:5", "c=choice:x,[1, 2]"]
    drawn = sweep.sample(specs, 400, 7)
    columns = {name: [one[name] for one in drawn] for name in "ulic"}
    assert 2 <= min(columns["u"]) and max(columns["u"]) <= 3
    assert 1e-4 <= min(columns["l"]) and max(columns["l"]) <= 1
    assert set(columns["i"]) == {3, 4, 5} and set(columns["c"]) == {"x", "[1, 2]"}
    # a quarter of the logarithms in each decade, within four standard errors
    shares = np.histogram(np.log10(columns["l"]), [-4, -3, -2, -1, 0])[0] / 400
    assert np.all(np.abs(shares - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400))
    assert abs(np.mean(columns["u"]) - 2.5) < 4 / np.sqrt(12 * 400)
    assert sweep.sample(specs, 400, 7) == drawn != sweep.sample(specs, 400, 8)
    assert sweep.sample(specs, 30, 7) == drawn[:30], "a larger sample begins with the smaller one"
    alone = [one["l"] for one in sweep.sample(specs[1:2], 400, 7)]
    assert alone == columns["l"], "whatever else is drawn"
    assert all(float(f"{value:.6g}") == value for value in columns["u"] + columns["l"])


# ---- the whole is checked first


def test_every_fault_of_every_run_is_in_one_error(project):
    sets = [{"size": 0}, {"size": 2}, {"size": 0, "lable": "x"}, {"size": "many"}]
    with pytest.raises(ValueError) as caught:
        planned(project, sets)
    text = str(caught.value)
    assert re.search(r"runs 1, 3: size: got 0, allowed: int, 1 to 100", text)
    assert re.search(r"run 3: lable: no such parameter; did you mean label\?", text)
    assert re.search(r"run 4: size: got 'many'", text)
    assert len(text.splitlines()) == 4


def test_equal_sets_are_taken_once_and_the_base_lies_below_all(project):
    plan = planned(project, [{"size": 3}, {"size": "3.0"}, {"size": 4}, {}], "smoke", {"label": "x"})
    assert [one.values for one in plan.runs] == [{"size": k, "label": "x"} for k in (3, 4, 1)]
    assert plan.swept == {"size": "numbers"}
    assert [one["run"] for one in sweep.Results(plan, project, project, None).records.values()] == [1, 2, 3]


GRID = ["--grid", "size=1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "wanted one of --grid, --list and --sample, got none"),
        (["joy", *GRID], "no such chapter: joy; there are toy"),
        ([*GRID, "--sample", "size=int:1:2", "--runs", "2"], "got --grid and --sample"),
        ([*GRID, "--list", "a.csv"], "got --grid and --list"),
        ([*GRID, "--runs", "2"], "--runs N and --seed S belong to --sample"),
        ([*GRID, "--seed", "2"], "--runs N and --seed S belong to --sample"),
        (["--sample", "size=int:1:9"], "--sample wants --runs N"),
        (["--sample", "size=int:1:9", "--runs", "0"], "'--runs': 0 is not in the range x>=1"),
        ([*GRID, "--preview", "--smoke"], "wanted one of --preview and --smoke, got both"),
        ([*GRID, "-p", "label", "a", "-p", "label", "b"], "-p: wanted each name once, got label, label"),
        ([*GRID, "--grid", "label=a,b", "-p", "label", "a"], "label: fixed by -p and swept"),
        (["--grid", "size=1,0", "--grid", "label=a,b"], "runs 3, 4: size: got '0'"),
        ([*GRID, "--workers", "0"], "'--workers': 0 is not in the range x>=1"),
        ([*GRID, "--workers", "1", "--scheduler", "tcp://host:1"], "none with --scheduler"),
        ([*GRID, "--scheduler", "host"], "--scheduler: got 'host', wanted an address like tcp://host:8786"),
        ([*GRID, "--scheduler", "host", "--dry-run"], "wanted an address like tcp://host:8786"),
        ([*GRID, "--measure", "squares"], "measure: got 'squares'"),
        ([*GRID, "--out", "chapters"], "--out: 'chapters' is among the chapters"),
        ([*GRID, "--out", __file__], "is a file"),
        ([*GRID, "--out", __file__, "--dry-run"], "is a file"),
    ],
)
def test_a_bad_command_is_one_error_before_anything_runs_or_is_said(project, words, message, capsys):
    joy = words[:1] == ["joy"]
    assert toy(*words[joy:], chapter="joy" if joy else "toy") in (1, 2)
    out, err = capsys.readouterr()
    assert message in err and out == ""
    assert not (project / "_build").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_said(project, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert toy(*GRID) == 1
    out, err = capsys.readouterr()
    assert "cannot be written" in err and out == ""


def test_a_measure_is_known_by_the_code_the_copies_and_the_record(project):
    plan = planned(project, [{}])
    for name in ("square", "toy_mean", "mean", "of-toy"):
        sweep.check_measure(plan, name, project)
    with pytest.raises(ValueError, match="measure: got 'cube'"):
        sweep.check_measure(plan, "cube", project)
    recorded = json.dumps({"toy": {"cube": {"verdict": "holds"}}})
    store.put(project / "results" / "verdicts.json", recorded.encode())
    sweep.check_measure(plan, "cube", project)
    with pytest.raises(ValueError, match="toy has: cube"):
        sweep.check_measure(plan, "other", project)


# ---- a dry run


SOURCE = "from results/timings.json: the chapter at scale"


@pytest.mark.parametrize(
    ("timings", "time"),
    [
        ({}, "time: results/timings.json has none of toy; start the sweep, its first run will tell"),
        ({"preview": {"toy": {"a": 60.0, "b": 30.0}}}, f"time: about 04:30: 01:30 each, {SOURCE} preview"),
        ({"smoke": {"toy": {"a": 1}}, "full": {"toy": {"a": 90}}}, "time: less than 04:30: 01:30 each"),
        ({"smoke": {"toy": {"a": 90}}}, f"time: more than 04:30: 01:30 each, {SOURCE} smoke"),
        ({"smoke": {"toy": {"a": 90}}}, "; at scale preview none is recorded"),
    ],
)
def test_a_dry_run_shows_runs_and_time_and_writes_nothing(project, capsys, timings, time):
    store.put(project / "results" / "timings.json", json.dumps(timings).encode())
    words = ("--grid", "size=1,2,3", "--grid", "label=a,b,a", "--workers", "2", "--dry-run", "--preview")
    assert toy(*words) == 0
    out = capsys.readouterr().out
    assert "6 to run of 6, 2 at once" in out and time in out and "unknown" not in out
    assert "3 set(s) of parameters left out, each equal to one before it" in out
    assert len(re.findall(r"^\d +\d +[ab] +not run$", out, re.MULTILINE)) == 6
    assert not (project / "_build").exists()


def test_files_in_the_folder_of_who_asks_are_found_from_the_project(project, tmp_path, monkeypatch):
    path = project / "chapters" / "toy.ipynb"
    path.write_text(path.read_text().replace("[text]", "[path]"))
    (tmp_path / "a.npz").touch()
    monkeypatch.chdir(tmp_path)
    plan, runs = sweep.plan, []
    monkeypatch.setattr(sweep, "plan", lambda *a: runs.extend(plan(*a).runs) or plan(*a))
    for words in (["--grid", "label=a.npz,b.npz"], [*GRID, "-p", "label", "a.npz"]):
        assert cli.main(["sweep", "toy", *words, "--dry-run"], project) == 0
    assert [one.values["label"] for one in runs] == [f"{tmp_path}/a.npz", "b.npz", f"{tmp_path}/a.npz"]


def test_the_time_of_runs_of_equal_length():
    assert [sweep.lasts(n, 4, 10.0) for n in (0, 1, 4, 5, 8, 9)] == [0, 10, 10, 20, 20, 30]


# ---- running


def test_a_sweep_runs_replaces_killed_workers_keeps_failures_and_skips_what_is_done(
    project, tmp_path, capfd, request
):
    """Both workers are killed once: if they were not replaced, nobody would be left."""
    killed, out = f"kill {tmp_path}", ("--out", tmp_path / "out")
    words = ("--grid", f"label={killed},a,bad", "--grid", "size=2,5", "--measure", "square", *out)
    assert toy(*words, "--workers", "2") == 1, "one run failed"
    assert {path.name for path in tmp_path.glob("killed *")} == {"killed 2", "killed 5"}
    said, err = capfd.readouterr()
    assert "5 of 6 done, 1 failed" in said and "time: results/timings.json has none of toy" in said
    assert re.search(r"run 6 FAILED: cell \d raised ValueError: no <b>luck</b> \(kept at runs/", said)
    assert "6 of 6 runs ended, 0 under way, 1 failed" in err
    rows = table(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done"] * 5 + ["failed"]
    assert [row["mean.verdict"] for row in rows] == ["holds", "fails"] * 2 + ["holds", ""]
    assert [rows[2][f"mean.{part}"] for part in ("value", "low", "high", "n")] == ["2.0", "1.5", "2.5", "3"]
    assert [rows[2][f"square{part}"] for part in ("", ".low", ".high")] == ["4", "3", "5"]
    full = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (full["chapter"], full["base"]) == ("toy", "full")
    assert full["swept"] == {"size": "numbers", "label": "text"}
    one = full["runs"][2]
    assert one["parameters"] == {"size": 2, "label": "a"} and one["values"]["square"] == [4, 3, 5, 2]
    assert one["stamp"]["commit"] == "0123456789abcdef" and one["claims"][0]["statement"]
    failed = next((tmp_path / "out" / "runs").glob("*.failed.ipynb"))
    assert "no <b>luck</b>" in failed.read_text()
    assert not (tmp_path / "out" / ".running").exists()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").glob("*.ipynb") if p != failed}
    assert len(done) == 5
    request.getfixturevalue("here")
    assert toy(*words) == 1
    said = capfd.readouterr().out
    assert "1 to run, 5 done before" in said and "the mean of 5 finished run(s)" in said
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert toy("--grid", "size=2,5", "-p", "label", "a", *out) == 0
    assert "0 to run, 2 done before" in capfd.readouterr().out, "another sweep finds its runs there"
    chapter = project / "chapters" / "toy.ipynb"
    chapter.write_text(chapter.read_text().replace("Toy toy", "Toy joy"))
    plan = planned(project, [{"size": 2, "label": "a"}])
    assert len(sweep.Results(plan, tmp_path / "out", project, None).todo) == 1, "its text has changed"


def test_each_run_has_one_core_and_one_thread_and_its_numbers_are_read_as_they_were_given(
    tmp_path, tmp_path_factory, monkeypatch
):
    # where it is said who has which core: those who test another checkout may have them all
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("t")))
    pairs = (("i", -3), ("f", 1e-7), ("t", "2 of 3"), ("b", 2.0))
    code = f"""import os
from lib import page
from lib.ensembles import ensemble, machine
from lib.backend import tf
assert machine.cores() == sorted(os.sched_getaffinity(0)) and len(machine.cores()) == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
assert os.environ["OMP_NUM_THREADS"] == "1" and "SGD_BOOK_SCHEDULER" not in os.environ
asked = []
ensemble._computed = lambda *all: asked.append(all[3]) or (_ for _ in ())
try:
    ensemble.run(machine.cores, {{"a": {{}}}}, [1])
except KeyError:
    pass
assert asked == [1]
page.answer()
i, f, t, b = {[value for _, value in pairs]}"""
    chapter = toy_book.chapter(code, "%%text\n{{i}} {{f}} {{t}} {{b:.1f}}")
    notebook = toy_book.save(tmp_path / "toy.ipynb", chapter)
    assert toy(*GRID, "--out", tmp_path / "out", chapter=notebook) == 0
    (one,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert one["values"] == {**dict(pairs), "toy_mean": 2.5}
    assert [type(one["values"][name]) for name in "iftb"] == [int, float, str, float]
    executed = json.loads((tmp_path / "out" / one["notebook"]).read_text())
    assert summary.measures(executed) == ["mean", "b", "f", "i", "toy_mean"]
    assert gate.records(executed, gate.CLAIMS_MIME)


def test_a_measure_that_no_run_has_stops_the_sweep_at_its_first(project, here, tmp_path, capfd):
    words = ("--grid", "size=1,2,3", "-p", "label", "abc", "--measure", "of-xyz")
    assert toy(*words, "--out", tmp_path / "out") == 1
    out, err = capfd.readouterr()
    there = "mean, of-abc, square, toy_mean"
    assert f"measure: got 'of-xyz', there is: {there}" in err
    assert "1 of 3 done" in out


def test_a_run_that_failed_outside_the_chapter_has_its_time(monkeypatch):
    def lost(job):
        raise RuntimeError("every worker that took it was ended")

    monkeypatch.setattr(sweep, "execute", lost)
    monkeypatch.setattr(sweep.time, "monotonic", itertools.count(0, 5.0).__next__)
    ((_, result),) = sweep.finished(places.Itself(), {"run": {}}, lambda under, trouble: None)
    assert result == {"notebook": None, "failed": "every worker that took it was ended", "seconds": 5.0}


def test_an_interruption_keeps_what_is_done_and_the_same_command_goes_on(project, here, tmp_path, capfd):
    code = f"""import signal, sys
from pathlib import Path
from book import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    sys.exit(cli.main(["sweep", *sys.argv[1:]], Path({str(project)!r})))"""
    (tmp_path / "script.py").write_text(code)
    words = ["--grid", "size=1,2", "-p", "label", f"wait {tmp_path}", "--out", tmp_path / "out"]
    words += ["--workers", 1]
    command = [sys.executable, str(tmp_path / "script.py"), "toy", *map(str, words)]
    more = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "cwd": tmp_path, "text": True}
    kept = []
    for how in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        jobs.until(lambda: len(list(tmp_path.glob("begun *"))) == 1)
        jobs.until(lambda: len(list((tmp_path / "out" / "runs").glob("*.ipynb"))) == 1)
        process.send_signal(how)
        out, err = process.communicate(timeout=PATIENCE)
        (path,) = (tmp_path / "out" / "runs").iterdir()
        kept.append((path, path.stat().st_mtime_ns))
        if how == signal.SIGINT:
            assert process.returncode == 130, err
            assert "interrupted; what was finished is kept" in out and "Traceback" not in err
            assert [row["status"] for row in table(tmp_path / "out")] == ["done", "not run"]
            assert (tmp_path / "out" / "index.html").exists()
        (tmp_path / "begun 2").unlink()
    (tmp_path / "go").touch()
    assert toy(*words) == 0
    out = capfd.readouterr().out
    assert "1 to run, 1 done before" in out and "2 of 2 done" in out
    assert {*kept, (path, path.stat().st_mtime_ns)} == {kept[0]}


def test_two_sweeps_do_not_write_to_one_folder(project, tmp_path, capsys):
    with sweep._held(tmp_path / "out"):
        assert toy(*GRID, "--out", tmp_path / "out") == 1
    assert "another sweep is writing to" in capsys.readouterr().err


# ---- table, figure, page


def made(swept, measure=None):
    return {"chapter": "toy", "base": "full", "swept": dict.fromkeys(swept, "points"), "measure": measure}


def records(sets, failed=()):
    """Records of runs without a kernel: the value is the sum of the numbers."""
    found = []
    for number, values in enumerate(sets, 1):
        if number in failed:
            more = (None, "runs/x.ipynb", "no <b>luck</b>", 1.0)
            found.append(summary.record(number, values, "failed", *more))
            continue
        one = summary.record(number, values, "done", None, "runs/x.ipynb", "", 1.0)
        value = float(sum(v for v in values.values() if not isinstance(v, str | list)))
        claim = toy_book.claim()["claims"][0] | {"value": value, "interval": [value - 0.1, value + 0.1]}
        low, high = claim["interval"]
        claim["verdict"] = "holds" if high <= 4 else "fails" if low > 4 else "undecided"
        found.append(one | {"claims": [claim], "values": {"count": 7, "word": "x"}})
    return found


def product(**levels):
    return [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]


LINES = "Along a, a colour for each b{}. Bars are the intervals of the runs. Grey: what the claim accepts."
POINTS = "Along a, a colour for each b, a {} for each {}. Grey: what the claim accepts."
SHAPES = {
    "one": (product(a=[0.001, 0.01, 1.0]), "Along a. Bars are the intervals"),
    "one-of-words": (product(a=["x", "y"], b=[1]), "Along a."),
    "many": (product(a=range(8), b=range(7)), LINES.format("")),
    "lists": (product(a=[1, 2, 3], b=[[1, 2], [3]], c=[True, False]), LINES.format(", a panel for each c")),
    "scattered": ([{"a": k, "b": k * k, "c": -k} for k in range(9)], POINTS.format("size", "c")),
    "four": (
        product(a=[1, 2, 3], b=[1, 2], d=[1, 2], c="xy"),
        POINTS.format("panel", "d") + " Not drawn: c.",
    ),
    "nothing": ([{"a": 1}], "One run."),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_figure_for_every_number_of_parameters(shape):
    sets, how = SHAPES[shape]
    swept = [name for name in sets[0] if len({str(one[name]) for one in sets}) > 1]
    units = dict.fromkeys(swept, "points")
    svg, caption, alt = summary.figure("mean", units, records(sets))
    assert svg.lstrip().startswith("<?xml") and "<svg" in svg
    assert how in caption and "The mean is below four" in caption
    sums = [sum(v for v in one.values() if not isinstance(v, str | list)) for one in sets]
    for value in {min(sums), max(sums)}:
        assert stats.shown(float(value), [value - 0.1, value + 0.1])[0] in alt


def test_runs_without_a_value_are_counted():
    found = records(product(a=[1, 2, 3]), failed={2})
    svg, caption, alt = summary.figure("mean", {"a": "1"}, found)
    assert svg == summary.figure("mean", {"a": "1"}, found)[0], "the same bytes each time"
    assert "1 run(s) have no value" in caption and "1 runs have no value" in alt
    assert summary.figure("gone", {"a": "1"}, found) is None


def test_a_number_without_an_interval_has_its_value_twice():
    one = summary.record(1, {}, "done") | {"values": {"x": [2, 1, 4, 9], "y": 3, "z": "t"}}
    wanted = {"x": (2, 1, 4), "y": (3, 3, 3), "z": None, "w": None}
    assert {name: summary.measured(one, name) for name in wanted} == wanted
    assert "y: 3 at a 0" in summary.figure("y", {"a": "1"}, [one | {"parameters": {"a": 0}}])[2]


def test_the_table_has_a_line_for_each_run_and_whatever_differs_first():
    found = records([{"a": 1, "b": [1, 2], "c": "x, y"}, {"a": -1, "b": [3], "c": "=1+A1"}], failed={2})[:2]
    for one in found:
        one["claims"] = []
    lines = list(csv.reader(io.StringIO(summary.as_csv(made(["c"], "count"), found))))
    assert ",".join(lines[0]) == "run,c,a,b,status,seconds,reason,count,count.low,count.high"
    assert lines[1] == ["1", "x, y", "1", "[1, 2]", "done", "1.0", "", "7", "7", "7"]
    assert lines[2] == ["2", "'=1+A1", "-1", "[3]", "failed", "1.0", "no <b>luck</b>", "", "", ""]
    found[1]["reason"] = "@x\n"
    assert summary.as_csv(made(["c"]), found).count("'@x") == 1, "no text is a spreadsheet's formula"


def test_the_page_stands_alone_and_escapes_what_it_shows():
    sets = [{"a": k, "b": "<i>x</i>"} for k in (1, 2, 5)] + [{"a": 9, "b": "&"}]
    text = summary.html(made(["a", "b"]), records(sets, failed={4}))
    page = BeautifulSoup(text, "html.parser")
    urls = [tag.get("src") or tag["href"] for tag in page(src=True) + page(href=True)]
    assert "<b>luck" not in text and "<i>x" not in text and "no &lt;b&gt;luck&lt;/b&gt;" in text
    assert all(re.match(r"data:|runs/|results\.", url) for url in urls) and urls
    assert not page(["script", "iframe", "b", "i"])
    assert ["1.0" in picture["alt"] for picture in page("img")] == [True]
    assert "color-scheme: light dark" in text and 'name="viewport"' in text
    assert "3 of 4 runs done, 1 failed" in text
    cells = [cell.text for cell in page("td")]
    assert {"✓ holds", "✗ fails"} <= {*cells} and len(page("tr")) > 4


def test_the_page_says_so_when_there_is_nothing_to_draw():
    none = [summary.record(1, {"a": 1}, "not run")]
    assert "0 of 1 runs done" in summary.html(made(["a"]), none)
    text = summary.html(made(["a"], "x"), none)
    assert "No run has a value of x yet" in text
    smoke = summary.html(made(["a"]) | {"base": "smoke"}, none)
    assert "no results" in smoke and "no results" not in text
