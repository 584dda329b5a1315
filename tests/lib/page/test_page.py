import json
import math
import os
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
from lib.page.params import Parameters
from lib.page.text import TEXT_MIME
from lib.stats import Estimate

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


def drawing():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot(np.arange(3), np.sin(np.arange(3)), ".")
    ax.set(xlabel="step", ylabel="loss")
    return fig


def test_figure_shows_drawing_words_and_data_and_below_them_the_caption(outputs):
    fig = drawing()
    page.figure(fig, "fig-the-loss", " The loss\n *falls*: {cite:t}`pitis2016first`. ", ALT, DATA)
    (bundle, about), (below, mark) = outputs
    assert set(bundle) == {"image/svg+xml", "text/plain", figures.DATA_MIME}
    caption = "The loss *falls*: {cite:t}`pitis2016first`."
    assert about["sgd_book"] == {
        "name": "fig-the-loss", "caption": caption, "alt": ALT, "words": [], "values": {},
    }  # fmt: skip
    assert bundle[figures.DATA_MIME] == {"columns": ["step", "loss"], "rows": [[0, 0.5], [1, None]]}
    assert "<svg" in bundle["image/svg+xml"] and "fill: #ffffff" in bundle["image/svg+xml"]
    assert below["text/markdown"] == below["text/plain"] and mark == {"sgd_book_caption": "fig-the-loss"}
    assert below["text/markdown"].startswith("**Figure *the loss*.** The loss *falls*: [Pitis (2016)](http")
    assert not plt.fignum_exists(fig.number)
    json.dumps(bundle, allow_nan=False)


def test_captions_and_descriptions_have_fields_whose_words_are_recorded(outputs, monkeypatch):
    names = {"n": 3, "gap": math.nan, "up": True, "few": None}
    monkeypatch.setattr("lib.page.text.names", lambda: names)
    alt = "[It rises.]{{not up}} {{n + 1}} [nets]{{few}}"
    page.figure(drawing(), "fig-a", "[{{n}} nets\nrise]{{up}} by {{gap:.1f}}.", alt, DATA)
    about = outputs[0][1]["sgd_book"]
    assert about["caption"] == "3 nets rise by *no number*." and about["values"] == {"n": 3, "n + 1": 4}
    assert about["alt"] == "It rises. (not so in this run) 4 nets (this run cannot tell)"
    assert [(w["words"], w["holds"]) for w in about["words"]] == [
        ("3 nets rise", True), ("gap", None), ("It rises.", False), ("nets", None),
    ]  # fmt: skip
    assert outputs[1][0]["text/plain"] == "**Figure *a*.** 3 nets rise by *no number*."


def test_estimates_are_the_data_of_a_figure(outputs):
    found = {"Adam": Estimate(0.2, 0.1, np.float64(0.3), 9, "t"), "SGD": Estimate(1, 1, 1, 5, "count")}
    page.figure(drawing(), "fig-a", "A.", ALT, page.estimates("net", found, "ahead [points]"))
    record = outputs[0][0][figures.DATA_MIME]
    assert record["columns"] == ["net", "ahead [points]", "low", "high", "networks"]
    assert record["rows"] == [["Adam", 0.2, 0.1, 0.3, 9], ["SGD", 1, 1, 1, 5]]


def test_the_same_figure_is_the_same_drawing_in_another_process_without_date_or_version():
    code = """if True:
        import matplotlib, sys
        matplotlib.use("agg")
        from test_page import drawing, figures
        sys.stdout.write(figures._picture(drawing(), "fig-a"))
        """
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        words, here = [sys.executable, "-c", code], figures._picture(drawing(), "fig-a")
    paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    there = subprocess.run(words, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    assert there.stdout == here, there.stderr
    assert "<svg" in here and "dc:date" not in here and matplotlib.__version__ not in here


DATES = pd.DataFrame({"a": [pd.Timestamp(0)]})
TWICE = pd.DataFrame([[1, 2]], columns=["a", "a"])
WRONG = {
    "fig": {"fig: got module": [plt], "fig: got NoneType": [None]},
    "name": {"name": ["loss", "fig-", "fig-Loss", "fig-a--b", None]},
    "caption": {"caption of fig-loss": [" ", None], "{{gone}}: NameError": ["A {{gone}}."]},
    "alt": {"alt of fig-loss": ["", "too short", "fig-loss", "{{'short'}}"]},
    "data": {
        "data: got NoneType": [None], "data: got list": [[1, 2]], "names": [{1: [1]}, {" ": [1]}],
        "data: ": [{}, {"a": []}, {"a": [1], "b": [1, 2]}, pd.DataFrame()],
        "column 'a'": [*({"a": [v]} for v in (math.nan, np.float32("nan"), [1])), DATES,
                       {"a": np.array([1, math.inf])}, pd.DataFrame({"a": [math.inf]})],
        "each once": [TWICE], "reset_index": [pd.DataFrame({"a": [1]}).set_index("a")],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [(name, v, part) for name, cases in WRONG.items() for part, values in cases.items() for v in values],
)
def test_figure_refuses_and_shows_nothing(name, value, part, outputs):
    given = {"fig": Figure(), "name": "fig-loss", "caption": "Loss.", "alt": ALT, "data": DATA, name: value}
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
    plain = {c: [None if pd.isna(v) else v for v in frame[c]] for c in frame}
    page.figure(drawing(), "fig-a", "A.", ALT, plain)
    rows = [[0.1, 1, "a", True, "u"], [None, None, None, False, "v"], [3.0, 3, "c", True, "u"]]
    record = json.loads(json.dumps(outputs[0][0][figures.DATA_MIME], allow_nan=False))
    assert record == {"columns": list(frame), "rows": rows}
    assert type(record["rows"][0][1]) is int
    assert outputs[2][0][figures.DATA_MIME]["rows"][1] == rows[1]


@pytest.fixture
def parameters():
    cell = "networks: int = 5  # networks [networks; 1 to 9]\nsizes: list[int] = [1]  # sizes [units; 1 to 9]"
    return Parameters(params.read(cell), {"networks": 6, "sizes": [1]}, "toy")


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


EARLIER = "kept from an earlier run of the same code, parameters and seeds on such a machine"


CHUNKS = {(0, 0): "none", (9, 0): "all computed in this run", (0, 9): f"all {EARLIER}",
          (2, 7): f"7 of 9 chunks {EARLIER}"}  # fmt: skip


@pytest.mark.parametrize("chunks", CHUNKS)
def test_a_stamp_says_whether_its_networks_are_of_its_own_run(chunks):
    record = dict(zip(("computed", "kept"), chunks, strict=True))
    assert provenance.chunks_shown({"chunks": record}) == CHUNKS[chunks]


@pytest.mark.parametrize(
    ("sha", "started", "seeds", "part"),
    [
        *((sha, 0, [1], "data_sha256") for sha in ("abc", None, SHA.upper())),
        *((SHA, started, [1], "started") for started in (None, math.nan, 0, 1e12)),
        *((SHA, NOW, seeds, "seeds") for seeds in ([1.5], ["1"])),
    ],
)
def test_stamp_refuses(sha, started, seeds, part, outputs, parameters):
    with pytest.raises(ValueError, match=part):
        page.stamp(parameters, sha, started, seeds)
    assert not outputs


@pytest.mark.parametrize(
    ("field", "late", "seeds", "words"),
    [("seeds", 0, (), "seeds: none"), ("seconds", 3600, [1], "time taken: unknown, the clock was set back")],
)
def test_what_a_stamp_cannot_know_it_says(field, late, seeds, words, outputs, parameters):
    page.stamp(parameters, SHA, time.time() + late, seeds)
    bundle = outputs[0][0]
    assert bundle[provenance.STAMP_MIME][field] is None and words in bundle["text/plain"]


def git(folder, *words):
    config = ("user.name=a", "user.email=a@b", "commit.gpgsign=false", "core.hooksPath=/dev/null")
    name = [word for setting in config for word in ("-c", setting)]
    subprocess.run(["git", "-C", str(folder), *name, *words], check=True, capture_output=True)


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
    assert provenance.machine.version("no-such-package-at-all") == "not installed"


class Private(AsyncKernelManager):
    """Kernels on files instead of TCP ports: no race for ports, and no warning about them."""

    transport = "ipc"


CELL = "networks: int = 5  # networks [networks; 1 to 9]"
CELLS = [
    "from lib import page\n\npage.answer()",
    CELL,
    "from pathlib import Path\nfrom lib.page import params\n\nparams.DEFAULTS = Path()\n"
    "P = page.parameters('toy')\nP",
    "import time\n\nfrom lib.page import claims\nfrom lib.stats import Estimate\n\nstarted = time.time()",
    "book = claims.Ledger(P)\nbook.claim('a', 'a', 's', '1', '0 to 2 %', 'r')\nbook.expected()",
    "import matplotlib.pyplot as plt\n\nfig, ax = plt.subplots()\nax.plot([1, 3])\n"
    f"page.figure(fig, 'fig-a', 'A {{{{P.networks}}}}.', '{ALT}', {{'y': [1, 3]}})",
    "%%text\n{{P.networks}} nets.",
    "book.measure('a', Estimate(1, 1, 1, P.networks, 'count'))\nbook.verdicts()",
    f"page.stamp(P, '{SHA}', started, [1])",
    "%%answer\n[Most]{{P.networks > 9}}.",
]


def test_a_notebook_carries_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "toy.txt").write_text(CELL)
    spec = {"name": "python3", "display_name": "p", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    book.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    book.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(book, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"networks": 7}, kernel_name="python3",
        progress_bar=False, kernel_manager_class=Private, cwd=tmp_path,
    )  # fmt: skip
    by_mime = {}
    for output in (output for cell in done.cells for output in cell.get("outputs", ())):
        assert output.output_type in ("display_data", "execute_result")
        for mime, content in output.data.items():
            by_mime.setdefault(mime, []).append((content, output.metadata))
    assert by_mime["application/vnd.sgd-book.claims+json"][0][0]["claims"][0]["n"] == 7
    assert by_mime[provenance.STAMP_MIME][0][0]["overridden"] == ["networks"]
    (data, about), *others = by_mime[figures.DATA_MIME]
    assert data == {"columns": ["y"], "rows": [[1], [3]]} and not others
    assert about["sgd_book"]["caption"] == "A 7."
    assert [content["myst"].split("\n")[-2] for content, _ in by_mime[TEXT_MIME]] == [
        "~~Most~~ _(not so in this run)_.", "7 nets.",
    ]  # fmt: skip
    texts = [content for content, _ in by_mime["text/markdown"]]
    answer = "> **The answer.**\n>\n> ~~Most~~ _(not so in this run)_."
    assert texts == [answer, "**Figure *a*.** A 7.", "7 nets.\n"]  # the answer is where the first cell put it
    assert len(by_mime["image/svg+xml"]) == 1
    assert "image/png" not in by_mime  # Jupyter would show a figure left open once more, without its words
