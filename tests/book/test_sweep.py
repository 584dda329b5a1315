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
from concurrent.futures import BrokenExecutor, Future
from html.parser import HTMLParser
from pathlib import Path

import jobs
import numpy as np
import pytest
import toy_book

from book import gate, run, summary, sweep
from lib.ensembles import worker
from lib.page import claims

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds
# a chapter whose claim and number depend on its parameters, and that may fail, wait, or kill who runs it
BODY = """import os, signal, time
from pathlib import Path
folder = Path(label.partition(" ")[2] or ".")
if label.startswith("wait") and size > 1:
    Path(folder, f"begun {size}").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.05)
if label.startswith("kill") and not Path(folder, "killed").exists():
    Path(folder, "killed").touch()
    os.kill(os.getppid(), signal.SIGKILL)
if label == "bad" and size > 2:
    raise ValueError("no <b>luck</b>")"""
GLUED = """from myst_nb import glue
for k, name in enumerate(("square", "square_low", "square_high")):
    glue(name, size**2 + (0, -1, 1)[k], display=False)
glue(f"of-{label[:3]}", size, display=False)"""
CLAIM = """RECORD["claims"][0].update(value=1.0 * size, interval=[size - 0.5, size + 0.5])
words = [w for w, yes in (("holds", size + 0.5 <= 4), ("fails", size - 0.5 > 4)) if yes] + ["undecided"]
RECORD["claims"][0]["verdict"] = words[0]
display({"text/html": "<p>claims</p>", "application/vnd.sgd-book.claims+json": RECORD}, raw=True)"""


@pytest.fixture
def project(tmp_path):
    """A folder with one chapter of this kind, and no library."""
    chapter = toy_book.chapter(BODY, GLUED)
    record = toy_book.claim()
    chapter.cells[-2].source = f"RECORD = {record!r}\n{CLAIM}"
    toy_book.save(tmp_path / "project" / "chapters" / "toy.ipynb", chapter)
    return tmp_path / "project"


def toy(project, *arguments):
    return sweep.main(["toy", *map(str, arguments)], project)


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


@pytest.mark.parametrize("axes", [["a"], ["=1"], ["a="], ["a=1", "a=2"]])
def test_an_axis_of_another_form_is_refused(axes):
    with pytest.raises(ValueError, match="--grid"):
        sweep.grid(axes)


def test_a_list_is_read_from_csv_and_json(tmp_path):
    sets = [{"size": "1", "label": "a, b"}, {"label": "c"}]
    (tmp_path / "a.csv").write_text('size, label\n1,"a, b"\n,c\n\n')
    assert sweep.listed(tmp_path / "a.csv") == sets
    (tmp_path / "a.json").write_text(json.dumps(sets))
    assert sweep.listed(tmp_path / "a.json") == sets


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a line of names"),
        ("a.csv", "size\n", "a line of names"),
        ("a.csv", "size,size\n1,2\n", "each once"),
        ("a.csv", "size,label\n1\n", "run 1: 1 values for 2 names"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "{}", "wanted a list of objects"),
        ("a.json", "[]", "wanted a list of objects"),
        ("a.json", "[3]", "wanted a list of objects"),
        ("a.txt", "size\n1\n", "ends in .csv or .json"),
        ("gone.csv", None, "cannot read"),
    ],
)
def test_a_bad_list_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        sweep.listed(tmp_path / name)


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


@pytest.mark.parametrize(
    "spec",
    ["a", "a=1", "a=log:0:1", "a=uniform:2:1", "a=uniform:1", "a=int:1.5:3", "a=normal:0:1", "a=choice:",
     "a=uniform:0:inf", "a=log:a:b"],
)  # fmt: skip
def test_a_sample_of_another_form_is_refused(spec):
    with pytest.raises(ValueError, match="--sample"):
        sweep.sample([spec], 3, 0)


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
    assert (plan.repeated, plan.swept) == (1, {"size": "numbers"})
    assert [one.number for one in plan.runs] == [1, 2, 3]


def test_what_is_fixed_cannot_be_swept(project):
    with pytest.raises(ValueError, match="size: fixed by -p and swept"):
        planned(project, [{"size": 3}, {"size": 4}], fixed={"size": 3})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "wanted one of --grid, --list and --sample, got none"),
        (["--grid", "size=1", "--sample", "size=int:1:2", "--runs", "2"], "got --grid and --sample"),
        (["--grid", "size=1", "--runs", "2"], "--runs N belongs to --sample"),
        (["--sample", "size=int:1:9"], "--sample wants it"),
        (["--sample", "size=int:1:9", "--runs", "0"], "--runs wants 1 or more"),
        (["--grid", "size=1,0", "--grid", "label=a,b"], "runs 3, 4: size: got '0'"),
        (["--grid", "size=1", "--workers", "0"], "--workers: wanted 1 or more"),
        (["--grid", "size=1", "--measure", "squares"], "measure: got 'squares'"),
    ],
)
def test_a_bad_command_is_one_error_before_anything_runs(project, words, message, capsys):
    assert toy(project, *words) == 1
    assert message in capsys.readouterr().err
    assert not (project / "_build").exists()


def test_an_unknown_chapter_is_refused_with_those_there_are(project, capsys):
    assert sweep.main(["joy", "--grid", "size=1"], project) == 1
    assert "no such chapter: joy; there are toy" in capsys.readouterr().err


def test_a_measure_is_known_by_the_code_the_copies_and_the_record(project):
    plan = planned(project, [{}])
    for name in ("square", "square_low", "mean", "of-toy"):
        sweep.check_measure(plan, name, project)
    with pytest.raises(ValueError, match="measure: got 'cube'"):
        sweep.check_measure(plan, "cube", project)
    run.write(project / "results" / "verdicts.json", json.dumps({"toy": {"cube": {"verdict": "holds"}}}))
    sweep.check_measure(plan, "cube", project)
    with pytest.raises(ValueError, match="toy has: cube"):
        sweep.check_measure(plan, "other", project)


# ---- a dry run


def test_a_dry_run_shows_runs_and_time_and_writes_nothing(project, capsys):
    words = ("--grid", "size=1,2,3", "--grid", "label=a,b", "--workers", "2", "--dry-run")
    assert toy(project, *words) == 0
    out = capsys.readouterr().out
    assert "6 to run of 6, 2 at once" in out and "time: unknown: no run of this sweep is finished" in out
    assert len(re.findall(r"^\d +\d +[ab] +not run$", out, re.MULTILINE)) == 6
    run.write(project / "results" / "timings.json", json.dumps({"full": {"toy": {"a": 60.0, "b": 30.0}}}))
    assert toy(project, *words) == 0
    assert "about 4:30: 1:30 each, from results/timings.json" in capsys.readouterr().out
    assert not (project / "_build").exists()


def test_tensorflow_is_not_imported_for_a_dry_run():
    code = "import sys; from book import sweep; s = sweep.main(sys.argv[1:]); "
    code += "print('tensorflow' in sys.modules, s)"
    words = ["greedy_layerwise_training", "--smoke", "--grid", "rate=0.1,0.2", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False 0"


def test_the_time_of_runs_of_equal_length():
    assert [sweep.lasts(n, 4, 10.0) for n in (0, 1, 4, 5, 8, 9)] == [0, 10, 10, 20, 20, 30]


# ---- running


def test_a_sweep_runs_keeps_failures_and_skips_what_is_done(project, tmp_path, capfd):
    words = (
        "--grid",
        "size=1,2,5",
        "--grid",
        "label=a,bad",
        "--out",
        tmp_path / "out",
        "--measure",
        "square",
    )
    assert toy(project, *words) == 1, "one run failed"
    out, err = capfd.readouterr()
    assert "5 of 6 done, 1 failed" in out
    assert re.search(r"run 6 FAILED: cell \d raised ValueError: no <b>luck</b> \(kept at runs/", out)
    assert "6 of 6 runs ended, 0 under way, 1 failed" in err
    rows = table(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done"] * 5 + ["failed"]
    assert [row["mean.verdict"] for row in rows] == ["holds"] * 4 + ["fails", ""]
    assert [(r["mean.value"], r["mean.low"], r["mean.high"], r["mean.n"]) for r in rows[2:3]] == [
        ("2.0", "1.5", "2.5", "3")
    ]
    assert [(r["square"], r["square.low"], r["square.high"]) for r in rows[2:3]] == [("4", "3", "5")]
    full = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (full["chapter"], full["base"]) == ("toy", "full")
    assert full["swept"] == {"size": "numbers", "label": "text"}
    one = full["runs"][2]
    assert one["parameters"] == {"size": 2, "label": "a"} and one["values"]["square"] == 4
    assert one["stamp"]["commit"] == "0123456789abcdef" and one["claims"][0]["statement"]
    failed = next((tmp_path / "out" / "runs").glob("*.failed.ipynb"))
    assert "no <b>luck</b>" in failed.read_text()
    assert not (tmp_path / "out" / ".running").exists()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").glob("*.ipynb") if p != failed}
    assert len(done) == 5
    assert toy(project, *words) == 1
    assert "1 to run, 5 done before" in capfd.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert toy(project, "--grid", "size=1,2", "--out", tmp_path / "out", "-p", "label", "a") == 0
    assert "0 to run, 2 done before" in capfd.readouterr().out, "another sweep finds its runs there"
    chapter = project / "chapters" / "toy.ipynb"
    chapter.write_text(chapter.read_text().replace("Toy toy", "Toy joy"))
    plan = planned(project, [{"size": 1, "label": "a"}])
    assert len(sweep.Results(plan, tmp_path / "out", project, None).todo) == 1, "its text has changed"


def test_each_run_has_one_core_and_one_thread(tmp_path):
    code = """import os
from lib.ensembles import ensemble, worker
from lib.backend import tf
assert worker.cores() == sorted(os.sched_getaffinity(0)) and len(worker.cores()) == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
assert os.environ["OMP_NUM_THREADS"] == "1" and "SGD_BOOK_SCHEDULER" not in os.environ
asked = []
ensemble._computed = lambda job, tasks, workers: asked.append(workers) or ()
try:
    ensemble.run(worker.cores, {"a": {}}, [1])
except KeyError:
    pass
assert asked == [1]"""
    notebook = toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter(code))
    out = tmp_path / "out"
    assert sweep.main([str(notebook), "--grid", "size=1,2", "--out", str(out), "--workers", "2"]) == 0


def test_a_measure_that_no_run_has_stops_the_sweep_at_its_first(project, tmp_path, capfd):
    words = ("--grid", "size=1,2,3", "-p", "label", "abc", "--measure", "of-xyz", "--workers", "1")
    assert toy(project, *words, "--out", tmp_path / "out") == 1
    out, err = capfd.readouterr()
    assert "measure: got 'of-xyz', there is: mean, square, square_low, square_high, of-abc, toy-mean" in err
    assert "1 of 3 done" in out


def test_a_worker_that_is_killed_is_replaced_and_its_run_done_again(project, tmp_path, capfd):
    words = ("--grid", "size=1,2,3", "-p", "label", f"kill {tmp_path}", "--out", tmp_path / "out")
    assert toy(project, *words, "--workers", "2") == 0
    assert "3 of 3 done, 0 failed" in capfd.readouterr().out
    assert (tmp_path / "killed").exists()


class Fragile:
    """A place for runs that is found broken when it is given some of them, or asked for what came out."""

    workers = 2

    def __init__(self, breaks):
        self.breaks, self.calls, self.restarts = breaks, 0, 0

    def _call(self):
        self.calls += 1
        if self.calls in self.breaks:
            raise BrokenExecutor

    def submit(self, job):
        self._call()
        future = Future()
        future.set_result(job)
        return future

    def wait(self, futures, seconds):
        self._call()
        return set(futures)

    def again(self, error):
        self.restarts += 1


@pytest.mark.parametrize("breaks", [(1,), (2,), (3,), (2, 4), (1, 2, 3), (5, 6, 9)], ids=str)
def test_whenever_workers_are_lost_every_run_has_its_result_once(breaks):
    wanted = {f"run {n}": {"n": n} for n in range(5)}
    place = Fragile(breaks)
    came = list(sweep.finished(place, wanted, lambda under: None))
    assert len(came) == len(wanted) and dict(came) == wanted
    assert place.restarts == len(breaks)


def test_workers_that_never_live_end_the_sweep(monkeypatch):
    place = sweep._Local(1)
    monkeypatch.setattr(worker, "restart", lambda workers: None)
    for _ in range(sweep._RESTARTS):
        place.again(sweep.BrokenExecutor())
    with pytest.raises(sweep.SweepError, match="ended from outside 4 times"):
        place.again(sweep.BrokenExecutor())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_keeps_what_is_done_and_the_same_command_goes_on(how, project, tmp_path):
    code = f"""import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    from pathlib import Path
    from book import sweep
    sys.exit(sweep.main(sys.argv[1:], Path({str(project)!r})))"""
    (tmp_path / "script.py").write_text(code)
    words = ["toy", "--grid", "size=1,2,3,4", "-p", "label", f"wait {tmp_path}", "--out", tmp_path / "out"]
    command = [sys.executable, str(tmp_path / "script.py"), *map(str, words), "--workers", "2"]
    more = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "cwd": tmp_path, "text": True}
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    jobs.until(lambda: len(list(tmp_path.glob("begun *"))) == 2)
    jobs.until(lambda: len(list((tmp_path / "out" / "runs").glob("*.ipynb"))) == 1)
    first.send_signal(how)
    out, err = first.communicate(timeout=PATIENCE)
    (kept,) = (tmp_path / "out" / "runs").iterdir()
    before = kept.stat().st_mtime_ns
    if how == signal.SIGINT:
        assert first.returncode == 130, err
        assert "interrupted; what was finished is kept" in out and "Traceback" not in err
        assert [row["status"] for row in table(tmp_path / "out")] == ["done", *["not run"] * 3]
        assert (tmp_path / "out" / "index.html").exists()
    (tmp_path / "go").touch()
    second = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE, **more)
    assert second.returncode == 0, second.stderr
    assert "3 to run, 1 done before" in second.stdout and "4 of 4 done" in second.stdout
    assert kept.stat().st_mtime_ns == before


def test_two_sweeps_do_not_write_to_one_folder(project, tmp_path, capsys):
    with sweep._held(tmp_path / "out"):
        assert toy(project, "--grid", "size=1", "--out", tmp_path / "out") == 1
    assert "another sweep is writing to" in capsys.readouterr().err


# ---- table, figure, page


def made(swept, measure=None):
    return {"chapter": "toy", "base": "full", "swept": dict.fromkeys(swept, "points"), "measure": measure}


def records(sets, failed=()):
    """Records of runs without a kernel: the value is the sum of the numbers."""
    found = []
    for number, values in enumerate(sets, 1):
        if number in failed:
            found.append(
                summary.record(number, values, "failed", None, "runs/x.ipynb", "no <b>luck</b>", 1.0)
            )
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


SHAPES = {
    "one": (product(a=[0.001, 0.01, 1.0]), "Along a."),
    "one-of-words": (product(a=["x", "y"], b=[1]), "Along a."),
    "two": (product(a=[1, 2, 3], b=[0.1, 0.2]), "Along a, a line for each b."),
    "map": (product(a=range(8), b=range(7)), "Colour: the measure."),
    "three": (product(a=[1, 2, 3], b=[0.1, 0.2], c=["x", "y"]), "a panel for each c."),
    "scattered": ([{"a": k, "b": k * k, "c": -k} for k in range(5)], "Each panel shows all runs."),
    "nothing": ([{"a": 1}], "One run."),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_figure_for_every_number_of_parameters(shape):
    sets, how = SHAPES[shape]
    swept = [name for name in sets[0] if len({one[name] for one in sets}) > 1]
    units = dict.fromkeys(swept, "points")
    svg, caption, alt = summary.figure("mean", units, records(sets))
    assert svg.lstrip().startswith("<?xml") and "<svg" in svg
    assert how in caption and "The mean is below four" in caption
    sums = [sum(v for v in one.values() if not isinstance(v, str)) for one in sets]
    for value in {min(sums), max(sums)}:
        assert claims.shown(float(value), [value - 0.1, value + 0.1])[0] in alt
    assert svg == summary.figure("mean", units, records(sets))[0], "the same bytes each time"


def test_runs_without_a_value_are_counted():
    found = records(product(a=[1, 2, 3]), failed={2})
    _, caption, alt = summary.figure("mean", {"a": "1"}, found)
    assert "1 run(s) have no value" in caption and "1 runs have no value" in alt
    assert summary.figure("gone", {"a": "1"}, found) is None


def test_a_number_has_the_interval_that_is_kept_with_it():
    one = summary.record(1, {}, "done") | {"values": {"x": 2, "x_low": 1, "x_high": 4, "y": 3, "z": "t"}}
    assert [summary.measured(one, name) for name in "xyzw"] == [(2, 1, 4), (3, 3, 3), None, None]


def test_the_table_has_a_line_for_each_run_and_whatever_differs_first():
    found = records([{"a": 1, "b": [1, 2], "c": "x, y"}, {"a": 1, "b": [3], "c": "z"}], failed={2})[:2]
    for one in found:
        one["claims"] = []
    lines = list(csv.reader(io.StringIO(summary.as_csv(made(["c"], "count"), found))))
    assert lines[0] == [
        "run",
        "c",
        "a",
        "b",
        "status",
        "seconds",
        "reason",
        "count",
        "count.low",
        "count.high",
    ]
    assert lines[1] == ["1", "x, y", "1", "[1, 2]", "done", "1.0", "", "7", "7", "7"]
    assert lines[2] == ["2", "z", "1", "[3]", "failed", "1.0", "no <b>luck</b>", "", "", ""]


class Page(HTMLParser):
    """What a page holds, for the tests."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.urls, self.alts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.urls += [given[name] for name in ("src", "href") if name in given]
        self.alts += [given["alt"]] if "alt" in given else []


def test_the_page_stands_alone_and_escapes_what_it_shows():
    sets = [{"a": k, "b": "<i>x</i>"} for k in (1, 2, 5)] + [{"a": 9, "b": "&"}]
    text = summary.html(made(["a", "b"]), records(sets, failed={4}))
    seen = Page(text)
    assert "<b>luck" not in text and "<i>x" not in text and "no &lt;b&gt;luck&lt;/b&gt;" in text
    assert all(re.match(r"data:|runs/|results\.", url) for url in seen.urls) and seen.urls
    assert not {"script", "iframe"} & set(seen.tags) and "b" not in seen.tags and "i" not in seen.tags
    assert len(seen.alts) == 1 and "1.0" in seen.alts[0]
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    assert "3 of 4 runs done, 1 failed" in text
    assert seen.tags.count("tr") > 4 and "✓ holds" in text and "✗ fails" in text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


def test_the_page_says_so_when_there_is_nothing_to_draw():
    none = [summary.record(1, {"a": 1}, "not run")]
    assert "0 of 1 runs done" in summary.html(made(["a"]), none)
    text = summary.html(made(["a"], "x"), none)
    assert "No run has a value of x yet" in text
    smoke = summary.html(made(["a"]) | {"base": "smoke"}, none)
    assert "no results" in smoke and "no results" not in text


def test_what_a_notebook_glued_is_read_as_it_was_given(tmp_path):
    pairs = (("i", -3), ("f", 1e-7), ("t", "2 of 3"), ("b", 2.0))
    code = f"from lib import page\nfor name, value in {pairs}: page.glue(name, value)"
    notebook = toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter(code))
    executed = run.run(notebook, tmp_path / "out.ipynb", {})
    assert summary.glued(executed) == {"i": -3, "f": 1e-7, "t": "2 of 3", "b": 2.0, "toy-mean": 2.5}
    assert summary.measures(executed) == ["mean", "i", "f", "b", "toy-mean"]
    assert gate.records(executed, gate.CLAIMS_MIME)
