"""Toy chapters and a toy book for the tests of the pipeline: tiny notebooks that train nothing."""

import json
import shutil
from pathlib import Path

import nbformat

PROJECT = Path(__file__).resolve().parents[1]
PARAMETERS = """size: int = 3  # numbers in the sample [numbers; 1 to 100]
label: str = "toy"  # name of the sample [text]"""
SETUP = """from IPython.display import display
import json
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><rect width="9" height="9"/></svg>'"""
FIGURE = """TABLE = {"columns": ["x", "y"], "rows": [[1, 2.5], [2, "a, b"]]}
ABOUT = {"name": "fig-toy", "caption": "A toy with $x^2$.", "alt": "A black square on white."}
BUNDLE = {"image/svg+xml": SVG, "application/vnd.sgd-book.data+json": TABLE}
display(BUNDLE, metadata={"sgd_book": ABOUT}, raw=True)"""
TOLD = """TOLD = {"words": [], "values": {"toy_mean": 2.5}}
TOLD["myst"] = f"The mean is {2.5:.1f}, see {{numref}}`fig-toy`."
SEEN = "The mean is 2.5, see figure *toy*."
display({"text/markdown": SEEN, "application/vnd.sgd-book.text+json": TOLD}, raw=True)"""
STAMP = """display({"text/html": "<p>stamp</p>", "application/vnd.sgd-book.stamp+json": {
    "commit": "0123456789abcdef", "clean": True, "parameters": {"size": size}, "overridden": [],
    "data_sha256": "0" * 64, "versions": {"Python": "3"}, "processor": "toy", "threads": 1,
    "system": "toy-system", "seeds": {"number": size, "first": 1, "last": size},
    "started": "2026-01-01T00:00:00+00:00", "seconds": 0.1,
    "chunks": {"computed": 0, "kept": 0}}}, raw=True)"""

# Two explorable figures, and two drawings.
EXPLORED = """from lib import stats
from lib.page import explore, text
from lib.page.explore import Axis, Control, Dots, Estimate, Line, Note, Panel, Rule

def state(rate, way="plain"):
    e = stats.Estimate(10.0 * rate, 9.0 * rate, 11.0 * rate, 3, "t")
    marks = [Dots([rate, 1], [20 * rate, 10], [rate, 0]), Estimate(rate, e), Rule(50, "half")]
    said = f"At a rate of {rate}, {way}, {rate} of 3 networks train. " + "It goes on and on. " * rate
    return said.strip(), marks, [Line([0, 10], [0, 10 * rate], rate), Note(1, 90, f"rate {rate}")]

axes = Axis("rate", 0, 10), Axis("right [%]", 0, 100)
for name, values in (("fig-one", [1, 2, 3]), ("fig-two", [4, 5])):
    controls = [Control("rate", values, "steps"), Control("way", ["plain", "fancy"], slider=False)]
    explore.figure(name, f"Move the rate of *{name}*.", "Dots and lines for each rate and way.", controls,
                   [Panel("Left", *axes), Panel("Right", *axes)], state, {"rate": [1, 2]})
display(text.bundle(text.fill("Move {numref}`fig-two`."), "Move it."), raw=True)"""
DRAWN = """from lib import page
from lib.page import plot
for name in ("fig-three", "fig-four"):
    fig, ax = plot.figure()
    plot.parts(ax, {"bar": {"a": 0.4, "b": 0.6}}, dict(zip("ab", plot.PALETTE)))
    page.figure(fig, name, "Two parts.", "A bar of two parts, 40 and 60.", {"part": [0.4, 0.6]})"""


def claim(high: float = 4.0, value: float = 2.5, verdict: str = "holds", chapter: str = "toy") -> dict:
    """A claims record with one claim."""
    ends = {"would_hold": f"−100 to {high:.3g}", "would_fail": f"above {high:.3g}"}
    one = {
        "id": "mean", "statement": "The mean is below four", "source": "a toy", "stated": "2.5",
        "unit": "points", "low": None, "high": high, "strict": False, "reason": "a toy's range",
        "expected": "holds", "why": "", "seen": "", "value": value, "interval": [value, value], "n": 3,
        "method": "exact", **ends, "verdict": verdict,
    }  # fmt: skip
    return {"chapter": chapter, "claims": [one]}


def claims_cell(record: dict) -> str:
    """Code that shows a claims record."""
    return (
        f"RECORD = {record!r}\n"
        'HTML = "<table><tr><td>claims</td></tr></table>"\n'
        'display({"text/html": HTML, "application/vnd.sgd-book.claims+json": RECORD}, raw=True)'
    )


def chapter(
    *extra: str, name: str = "toy", record: dict | None = None, prose: str = ""
) -> nbformat.NotebookNode:
    """A chapter that passes the gate, with more code cells before its end."""
    new = nbformat.v4
    code = [SETUP, *extra, FIGURE, TOLD, claims_cell(record or claim(chapter=name)), STAMP]
    text = f"# Toy {name}\n\n{prose}"
    cells = [new.new_markdown_cell(text, id="title")]
    cells.append(new.new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}))
    names = ["answer" if source is TOLD else f"cell-{k}" for k, source in enumerate(code)]
    cells += [new.new_code_cell(source, id=name) for name, source in zip(names, code, strict=True)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def save(path: Path, notebook: nbformat.NotebookNode) -> Path:
    """Write a notebook, and beside it its parameters at reduced scales."""
    scales = path.parent / "parameters" / path.stem
    scales.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    for scale, size in (("preview", 2), ("smoke", 1)):
        (scales / f"{scale}.yaml").write_text(f"size: {size}\n")
    return path


def library(root: Path) -> None:
    """A toy library, whose modules import one another in every form."""
    (root / "lib" / "deep").mkdir(parents=True)
    files = {
        "lib/__init__.py": "",
        "lib/near.py": "from .far import f\nX = 1\n",
        "lib/far.py": "import lib.deep.deepest as d\nf = d.VALUE\n",
        "lib/deep/__init__.py": "from . import beside\n",
        "lib/deep/deepest.py": "from ..last import VALUE\n",
        "lib/deep/beside.py": "",
        "lib/last.py": "VALUE = 3\n",
        "lib/unrelated.py": "Y = 1\n",
        "requirements.txt": "numpy==2.0\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)


def project(root: Path, **chapters: nbformat.NotebookNode) -> Path:
    """A toy project: the real library and settings, pages of its own."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("lib", "book"):
        (root / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "_static", root / "_static")
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy(PROJECT / name, root)
    figure = "```{keyfigure} fig-toy\n```\n"
    intro = f"# A toy book\n\nSee {{doc}}`chapters/toy` and {{cite}}`pitis2016first`: $x^2$.\n\n{figure}"
    (root / "intro.md").write_text(intro + "\n```{bibliography}\n```\n")
    boards = ["scoreboard", "status", "history"]
    for name in boards:
        (root / f"{name}.md").write_text(f"# {name.capitalize()}\n\n```{{{name}}}\n```\n")
    (root / "using.md").write_text("# Using\n\n```{launch}\n```\n\n```{citation}\n```\n")
    names = [f"chapters/{name}" for name in chapters] + [*boards, "using"]
    lines = ["format: jb-book", "root: intro", "chapters:", *(f"  - file: {name}" for name in names)]
    (root / "_toc.yml").write_text("\n".join(lines) + "\n")
    for name, notebook in chapters.items():
        save(root / "chapters" / f"{name}.ipynb", notebook)
    return root


JOB = '''"""A job of the toy book: networks of one weight, trained slowly enough to be killed meanwhile."""

import time

import numpy as np


def train(config, seeds, before=None):
    """Plain SGD on a noisy parabola, one row of weights for each seed."""
    time.sleep(config["seconds"])
    weights = np.ones(len(seeds)) if before is None else before["weights"][:, -1]
    noise = np.stack([np.random.default_rng([seed, config["rate"]]).normal(size=50) for seed in seeds])
    walk = np.empty_like(noise)
    for step in range(50):
        weights = weights - config["rate"] / 100 * (weights + noise[:, step])
        walk[:, step] = weights
    return {"weights": walk}
'''
WORK = """import toyjob
from lib import data
from lib.ensembles import ensemble
images = data.load().x_train
plan = {"long": {"rate": 3, "seconds": 0.1}}
plan["after"] = {"rate": 5, "seconds": 0.1, "after": plan["long"]}
found = ensemble.run(toyjob.train, plan, range(8 * size), chunk=2, workers=1)
ROWS = [[k, float(x)] for k, x in enumerate(found["after"]["weights"][:, -1])]
MEAN = sum(y for _, y in ROWS) / len(ROWS) + float(images.mean()) / 100"""


def trained(name: str) -> nbformat.NotebookNode:
    """A chapter whose numbers come from MNIST and from an ensemble; its job is in `working`'s folder."""
    notebook = chapter(WORK, name=name)
    made = {
        '[[1, 2.5], [2, "a, b"]]': "ROWS",
        "{2.5:.1f}": "{MEAN:.1f}",
        "HTML = ": 'RECORD["claims"][0] |= {"value": MEAN, "interval": [MEAN, MEAN]}\nHTML = ',
        "fig-toy": f"fig-{name}",
    }
    for cell in notebook.cells:
        for old, new in made.items():
            cell.source = cell.source.replace(old, new)
    return notebook


def working(root: Path) -> Path:
    """A toy project of two chapters, one of which trains; their verdicts are recorded."""
    project(root, toy=trained("toy"), second=chapter(name="second"))
    (root / "toyjob.py").write_text(JOB)
    second = root / "chapters" / "second.ipynb"
    second.write_text(second.read_text().replace("fig-toy", "fig-second"))
    (root / "results").mkdir()
    mean = {"verdict": "holds", "value": 2.5, "interval": [2.5, 2.5], "n": 3}
    verdicts = {name: {"mean": mean} for name in ("second", "toy")}
    (root / "results" / "verdicts.json").write_text(json.dumps(verdicts))
    return root


def files(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
