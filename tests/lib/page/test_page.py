import base64
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from jupyter_client.manager import AsyncKernelManager
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lib import page
from lib.page import figures, params, provenance
from lib.page.text import SAYS_MIME, plain, table

matplotlib.use("agg")
ROOT = Path(__file__).resolve().parents[3]
ALT = "A straight line that rises from one to three."
DATA = {"step": [0, 1], "loss": [0.5, None]}
SHA = "0123456789abcdef" * 4
NOW = 1_750_000_000.0  # not now: names of tests hold it, and have to be the same in all processes


@pytest.fixture
def outputs(monkeypatch):
    """What is displayed, as (bundle, metadata), in place of a notebook."""
    seen = []

    def display(bundle, raw, metadata=None):
        assert raw is True
        seen.append((bundle, metadata))

    monkeypatch.setattr("IPython.display.display", display)
    return seen


@pytest.fixture
def glued(monkeypatch):
    seen = {}

    def glue(name, value, display):
        assert display is False
        seen[name] = value

    monkeypatch.setattr("myst_nb.glue", glue)
    return seen


def drawing(points=3):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot(np.arange(points), np.sin(np.arange(points)), ".")
    ax.set(xlabel="step", ylabel="loss")
    return fig


def test_table_escapes_and_has_headings():
    html = table("sgd-x", "A & B", ("a", "<b>"), [("r<1", ("v", "mark")), ("r2", "<script>")])
    assert '<table class="sgd-x">' in html and "<caption>A &amp; B</caption>" in html
    assert '<th scope="row">r&lt;1</th><td><span class="mark">v</span></td>' in html
    assert '<th scope="col">&lt;b&gt;</th>' in html and "<script>" not in html
    assert html.startswith("<div") and "overflow-x: auto" in html and 'tabindex="0"' in html


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, int),
        (1.5, float),
        (np.int64(1), int),
        (np.float32(0.5), float),
        (np.float64(2), float),
        (10**400, int),
    ],
)
def test_plain_converts(value, kind):
    got = plain("x", value)
    assert type(got) is kind and got == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        np.bool_(True),
        math.nan,
        math.inf,
        -math.inf,
        np.float64("nan"),
        "1",
        np.array(1.0),
        [1],
        1j,
    ],
)
def test_plain_and_glue_refuse(value, glued):
    with pytest.raises(ValueError, match="x: got .* wanted a finite number"):
        plain("x", value)
    if value != "1":
        with pytest.raises(ValueError, match="x: got"):
            page.glue("x", value)
    assert not glued


def test_glue_keeps_plain_values(glued):
    for name, value in {"a": np.float64(0.5), "b-1": np.int32(3), "c_d": np.str_("word"), "e": 2}.items():
        page.glue(name, value)
    assert glued == {"a": 0.5, "b-1": 3, "c_d": "word", "e": 2}
    assert [type(v) for v in glued.values()] == [float, int, str, int]


@pytest.mark.parametrize("name", ["", "A", "a:b", "a`", "a b", "1a", None])
def test_glue_refuses_names_the_prose_cannot_write(name, glued):
    with pytest.raises(ValueError, match="name"):
        page.glue(name, 1)
    with pytest.raises(ValueError, match="empty text"):
        page.glue("x", " ")
    assert not glued


def test_figure_shows_drawing_words_and_data(outputs):
    fig = drawing()
    page.figure(fig, "fig-loss", " The loss\n *falls*. ", ALT, DATA)
    (bundle, about) = outputs[0]
    assert set(bundle) == {"image/svg+xml", "text/plain", figures.DATA_MIME}
    assert about == {"sgd_book": {"name": "fig-loss", "caption": "The loss *falls*.", "alt": ALT}}
    assert bundle[figures.DATA_MIME] == {"columns": ["step", "loss"], "rows": [[0, 0.5], [1, None]]}
    assert "<svg" in bundle["image/svg+xml"] and "fill: #ffffff" in bundle["image/svg+xml"]
    assert not plt.fignum_exists(fig.number)
    json.dumps(bundle, allow_nan=False)


def test_the_same_figure_is_the_same_bytes_without_date_or_version(outputs):
    for _ in range(2):
        page.figure(drawing(), "fig-loss", "Loss.", ALT, DATA)
    first, second = (bundle["image/svg+xml"] for bundle, _ in outputs)
    assert first == second
    assert "dc:date" not in first and matplotlib.__version__ not in first


def test_the_bytes_are_those_of_another_process():
    code = """if True:
        import hashlib, matplotlib
        matplotlib.use("agg")
        from test_page import drawing, figures
        print(hashlib.sha256(figures._picture(drawing(), "fig-a")[1].encode()).hexdigest())
        """
    words = [sys.executable, "-c", code]
    shas = {
        subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(shas) == 1


def test_a_figure_of_many_points_is_shown_as_pixels(outputs):
    page.figure(drawing(20_000), "fig-many", "Many.", ALT, DATA)
    bundle = outputs[0][0]
    assert "image/svg+xml" not in bundle
    png = base64.b64decode(bundle["image/png"])
    assert png.startswith(b"\x89PNG") and b"Matplotlib" not in png and len(png) < 500_000


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"fig": plt}, "fig: got module"),
        ({"fig": None}, "fig: got NoneType"),
        ({"name": "loss"}, "name"),
        ({"name": "fig-"}, "name"),
        ({"name": "fig-Loss"}, "name"),
        ({"name": "fig-a--b"}, "name"),
        ({"name": None}, "name"),
        ({"caption": " "}, "caption of fig-loss"),
        ({"caption": None}, "caption of fig-loss"),
        ({"alt": ""}, "alt of fig-loss"),
        ({"alt": "too short"}, "alt of fig-loss"),
        ({"name": "fig-a-very-long-name-it-is", "alt": "fig-a-very-long-name-it-is"}, "alt of fig-a"),
        ({"data": None}, "data: got NoneType"),
        ({"data": [1, 2]}, "data: got list"),
        ({"data": {}}, "data"),
        ({"data": {"a": []}}, "data"),
        ({"data": {"a": [1], "b": [1, 2]}}, "data"),
        ({"data": {"a": [math.nan]}}, "column 'a'"),
        ({"data": {"a": [np.float32("nan")]}}, "column 'a'"),
        ({"data": {"a": np.array([1, math.inf])}}, "column 'a'"),
        ({"data": {"a": [[1]]}}, "column 'a'"),
        ({"data": {1: [1]}}, "names"),
        ({"data": {" ": [1]}}, "names"),
        ({"data": pd.DataFrame({"a": [math.inf]})}, "column 'a'"),
        ({"data": pd.DataFrame({"a": [pd.Timestamp(0)]})}, "column 'a'"),
        ({"data": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "each once"),
        ({"data": pd.DataFrame({"a": [1]}).set_index("a")}, "reset_index"),
        ({"data": pd.DataFrame()}, "data"),
    ],
)
def test_figure_refuses_and_shows_nothing(changes, part, outputs):
    given = {"fig": Figure(), "name": "fig-loss", "caption": "Loss.", "alt": ALT, "data": DATA, **changes}
    with pytest.raises(ValueError, match=part):
        page.figure(**given)
    assert not outputs


def test_data_of_every_kind_becomes_plain(outputs):
    frame = pd.DataFrame(
        {
            "single": np.array([0.1, np.nan, 3], np.float32),
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "word": ["a", None, "c"],
            "flag": [True, False, True],
            "group": pd.Categorical(["u", "v", "u"]),
        },
        index=[7, 8, 9],
    )
    page.figure(drawing(), "fig-a", "A.", ALT, frame)
    page.figure(
        drawing(), "fig-a", "A.", ALT, {c: [None if pd.isna(v) else v for v in frame[c]] for c in frame}
    )
    rows = [[0.1, 1, "a", True, "u"], [None, None, None, False, "v"], [3.0, 3, "c", True, "u"]]
    record = json.loads(json.dumps(outputs[0][0][figures.DATA_MIME], allow_nan=False))
    assert record == {"columns": list(frame), "rows": rows}
    assert type(record["rows"][0][1]) is int
    assert outputs[1][0][figures.DATA_MIME]["rows"][1] == rows[1]


@pytest.fixture
def parameters():
    cell = "networks: int = 5  # networks [networks; 1 to 9]\nsizes: list[int] = [1]  # sizes [units; 1 to 9]"
    return params.take({"networks": 6}, cell)


def test_what_holds_shows_nothing_and_what_does_not_says_so(outputs):
    page.says({"the net is  ahead": np.bool_(True)})
    assert outputs == [({SAYS_MIME: [{"words": "the net is ahead", "holds": True}]}, None)]
    page.says({"none comes back": False, "a < b": None, "all do": True})
    bundle, _ = outputs[1]
    assert [entry["holds"] for entry in bundle[SAYS_MIME]] == [False, None, True]
    assert "does not hold: “none comes back”" in bundle["text/plain"]
    assert "cannot be told: “a < b”" in bundle["text/plain"]
    assert "a &lt; b" in bundle["text/html"] and "all do" not in bundle["text/html"]
    json.dumps(bundle)


@pytest.mark.parametrize("sentences", [{}, {" ": True}, {"a": 1}, {"a": np.array([True])}, {3: True}])
def test_says_refuses_and_shows_nothing(sentences, outputs):
    with pytest.raises(ValueError, match="wanted"):
        page.says(sentences)
    assert outputs == []


def test_stamp_has_the_agreed_fields_and_names_no_place(outputs, parameters):
    page.stamp(parameters, SHA, time.time() - 3, np.array([7, 5, 6]))
    bundle, _ = outputs[0]
    record = bundle[provenance.STAMP_MIME]
    assert tuple(record) == provenance.STAMP_FIELDS
    assert record["seeds"] == {"number": 3, "first": 5, "last": 7} and record["system"]
    assert "5 to 7 (3)" in bundle["text/plain"]
    assert record["parameters"] == {"networks": 6, "sizes": [1]} and record["overridden"] == ["networks"]
    assert set(record["versions"]) == {"Python", *provenance.PACKAGES}
    assert record["versions"]["numpy"] == np.__version__
    assert record["threads"] >= 1 and record["processor"].strip()
    assert 3 <= record["seconds"] < 100 and record["started"].endswith("+00:00")
    text = json.dumps(bundle, allow_nan=False)
    assert str(ROOT) not in text
    assert '<table class="sgd-stamp">' in bundle["text/html"] and "changed: networks" in bundle["text/html"]


@pytest.mark.parametrize(
    ("computed", "kept", "words"),
    [
        (0, 0, "none"),
        (9, 0, "all computed in this run"),
        (0, 9, "all kept from an earlier run of the same code, parameters and seeds on such a machine"),
        (
            2,
            7,
            "7 of 9 chunks kept from an earlier run of the same code, parameters and seeds on such a machine",
        ),
    ],
)
def test_a_stamp_says_whether_its_networks_are_of_its_own_run(computed, kept, words):
    assert provenance.chunks_shown({"chunks": {"computed": computed, "kept": kept}}) == words


@pytest.mark.parametrize(
    ("sha", "started", "seeds", "part"),
    [
        ("abc", 0, [1], "data_sha256"),
        (None, 0, [1], "data_sha256"),
        (SHA.upper(), 0, [1], "data_sha256"),
        (SHA, None, [1], "started"),
        (SHA, math.nan, [1], "started"),
        (SHA, 0, [1], "started"),
        (SHA, 1e12, [1], "started"),
        (SHA, NOW, [1.5], "seeds"),
        (SHA, NOW, ["1"], "seeds"),
    ],
)
def test_stamp_refuses(sha, started, seeds, part, outputs, parameters):
    with pytest.raises(ValueError, match=part):
        page.stamp(parameters, sha, started, seeds)
    assert not outputs


def test_a_chapter_that_draws_nothing_says_so(outputs, parameters):
    page.stamp(parameters, SHA, time.time(), ())
    assert (
        outputs[0][0][provenance.STAMP_MIME]["seeds"] is None and "seeds: none" in outputs[0][0]["text/plain"]
    )


def git(folder, *words):
    name = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ]
    subprocess.run(["git", "-C", str(folder), *name, *words], check=True, capture_output=True)


def test_a_clock_that_was_set_back_leaves_the_time_taken_open(outputs, parameters):
    page.stamp(parameters, SHA, time.time() + 3600, [1])
    assert outputs[0][0][provenance.STAMP_MIME]["seconds"] is None
    assert "time taken: unknown, the clock was set back" in outputs[0][0]["text/plain"]


def test_commit_is_that_of_the_checkout_and_of_no_other(tmp_path, monkeypatch, outputs, parameters):
    copy = tmp_path / "lib" / "page.py"
    copy.parent.mkdir()
    copy.write_text("x = 1\n")
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(copy))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def state():
        page.stamp(parameters, SHA, time.time(), [1])
        record = outputs[-1][0][provenance.STAMP_MIME]
        return record["commit"], record["clean"]

    assert state() == ("unknown", None)
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("x")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "other")
    assert state() == ("unknown", None)  # inside a checkout, but not part of it
    git(tmp_path, "add", "lib")
    git(tmp_path, "commit", "-qm", "lib")
    commit, clean = state()
    assert len(commit) == 40 and clean is True
    (tmp_path / "out.ipynb").write_text("{}")
    assert state() == (commit, True)  # what papermill writes while it runs changes nothing
    for name in ("lib/new.py", "chapters/new.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
        assert state() == (commit, False)
        (tmp_path / name).unlink()
    assert state() == (commit, True)
    copy.write_text("x = 2\n")
    assert state() == (commit, False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state() == ("unknown", None)


def test_without_processor_file_or_package(monkeypatch):
    monkeypatch.setattr(provenance.store, "Path", lambda *_: Path("/nowhere/at/all"))
    assert provenance.machine.processor()
    assert provenance._version("no-such-package-at-all") == "not installed"


class Private(AsyncKernelManager):
    """Kernels on files instead of TCP ports: no race for ports, and no warning about them."""

    transport = "ipc"


CELLS = [
    ("networks: int = 5  # networks [networks; 1 to 9]", ["parameters"]),
    ("from lib.page import params\n\nP = params.take()\nP", []),
    (
        "import time\n\nfrom lib import page\nfrom lib.page.claims import Claim, Ledger\n"
        "from lib.stats import Estimate\n\nstarted = time.time()",
        [],
    ),
    (
        "book = Ledger('toy', [Claim(id='a', statement='a', source='s', stated='1', unit='%', low=0, high=2,"
        " reason='r')])\nbook.expected()",
        [],
    ),
    (
        "import matplotlib.pyplot as plt\n\nfig, ax = plt.subplots()\nax.plot([1, 3])\n"
        f"page.figure(fig, 'fig-a', 'A.', '{ALT}', {{'y': [1, 3]}})\npage.glue('a-1', 0.25)",
        [],
    ),
    ("book.measure('a', Estimate(1, 1, 1, P.networks, 'count'))\nbook.verdicts()", []),
    (f"page.stamp(P, '{SHA}', started, [1])", []),
]


def test_a_notebook_carries_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    spec = {"name": "python3", "display_name": "p", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    book.cells = [nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in CELLS]
    nbformat.write(book, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        tmp_path / "in.ipynb",
        tmp_path / "out.ipynb",
        {"networks": 7},
        kernel_name="python3",
        progress_bar=False,
        kernel_manager_class=Private,
        cwd=tmp_path,
    )
    by_mime = {}
    for output in (output for cell in done.cells for output in cell.get("outputs", ())):
        assert output.output_type in ("display_data", "execute_result")
        for mime, content in output.data.items():
            by_mime.setdefault(mime, []).append((content, output.metadata))
    assert by_mime["application/vnd.sgd-book.claims+json"][0][0]["claims"][0]["n"] == 7
    assert by_mime[provenance.STAMP_MIME][0][0]["overridden"] == ["networks"]
    assert by_mime[figures.DATA_MIME][0] == (
        {"columns": ["y"], "rows": [[1], [3]]},
        {"sgd_book": {"name": "fig-a", "caption": "A.", "alt": ALT}},
    )
    assert by_mime["application/papermill.record/text/plain"][0][0] == "0.25"
    assert len(by_mime["image/svg+xml"]) == 1
    assert "image/png" not in by_mime  # Jupyter would show a figure left open once more, without its words
