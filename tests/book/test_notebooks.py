"""The notebook is the reading: in JupyterLab, as HTML of nbconvert, alone with an installed library.

Every chapter at its smallest scale, and one that is made of the template.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
import smoke
import yaml

from book import contents, gate

ROOT = smoke.ROOT
NEW = "wide_nets"  # made of the template; its defaults are kept nowhere but in the installed library
CHAPTERS = {NEW: None} | {path.stem: path for path in smoke.CHAPTERS}
PATIENCE = 300_000  # milliseconds: a chapter on a busy machine
# What only authors may see: roles, fields, fences, magics, labels; and marks that a front end did not take.
RAW = re.compile(
    r"\{(?:cite|numref|glue)|\{\{|\}\}|:::|%%text|%%answer|% given|^\([\w-]+\)=|(?<!\S)\*+\w|~~", re.M
)
BAR = re.compile(r"\d+%\|")
# Of every cell on the page: whether its code is seen, and the kind and text of what it shows. JupyterLab, and
# it alone, draws a cell some frames after it has come into view, above the bar at the foot.
READ = """async () => {
  const found = [];
  for (const cell of document.querySelectorAll('.jp-Cell')) {
    const seen = () => [...cell.querySelectorAll('.jp-OutputArea-output, .jp-MarkdownOutput')];
    const below = !found.length || cell.getBoundingClientRect().bottom > innerHeight - 50;
    const away = window.jupyterapp && below;
    if (away) cell.scrollIntoView();
    if (away || !seen().some(part => part.innerText.trim()))
      await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    found.push({
      code: [...cell.querySelectorAll('.jp-CodeCell .jp-Editor')].some(e => e.checkVisibility()),
      shown: seen().map(part => [
        part.dataset.mimeType ?? 'text/markdown', part.innerText.trim(), !!part.querySelector('.sgd-explore')
      ])
    });
  }
  return found;
}"""
OPENED = """path => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.context?.path === path && panel.context.isReady && panel.sessionContext.session?.kernel;
}"""
# After so many cells, or an error; not sooner than the kernel rests.
FINISHED = """count => {
  const panel = jupyterapp.shell.currentWidget;
  const cells = panel.content.widgets.filter(cell => cell.model.type === 'code');
  const failed = cells.some(c => c.model.outputs.toJSON().some(o => o.output_type === 'error'));
  const idle = panel.sessionContext.session?.kernel?.status === 'idle';
  return idle && (failed || cells.at(-1).model.executionCount === count);
}"""
SAVED = "() => !jupyterapp.shell.currentWidget.context.model.dirty"
WATCH = """() => {
  window.bars = [];
  new MutationObserver(() => document.querySelectorAll('.jp-OutputArea-output pre').forEach(
    part => /\\d+%\\|/.test(part.innerText) && window.bars.push(part.innerText)
  )).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def python(*words, cwd, env, **options) -> subprocess.CompletedProcess:
    """What this Python said of a module or a file."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder outside the checkout."""
    return tmp_path_factory.mktemp("reading")


@pytest.fixture(scope="module")
def checkout(place):
    """A copy of what is installed from a checkout, with one chapter more."""
    copy = place / "checkout"
    for name in ("lib", "book", "chapters"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "LICENSE", "_toc.yml"):
        shutil.copy(ROOT / name, copy)
    contents.add_chapter(copy, NEW)
    return copy


@pytest.fixture(scope="module")
def env(place, checkout):
    """The environment of kernels that have the library as pip installs it, and no checkout."""
    command = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target"]
    done = python("-m", *command, place / "installed", checkout, cwd=place, env=os.environ)
    assert done.returncode == 0, done.stderr
    folders = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "SGD_BOOK_CHUNKS": "chunks", "PYTHONPATH": "installed",
    }  # fmt: skip
    return {**os.environ, **{name: str(place / folder) for name, folder in folders.items()}}


@pytest.fixture(scope="module")
def runs(request, env, executed):
    """Papermill's copies of the chapters that are asked for; their chunks are kept for JupyterLab."""
    cases = (item.callspec.params for item in request.session.items if hasattr(item, "callspec"))
    asked = {case["name"] for case in cases if "name" in case}
    found = {name: executed(path) for name, path in CHAPTERS.items() if path and name in asked}
    for _, folder in found.values():
        shutil.copytree(folder / "chunks", env["SGD_BOOK_CHUNKS"], dirs_exist_ok=True)
    return {name: copy for name, (copy, _) in found.items()}


@pytest.fixture(scope="module", params=CHAPTERS)
def name(request):
    """Name of a chapter; all tests of one before the next."""
    return request.param


def smallest(checkout: Path, name: str) -> dict:
    """Parameters of a chapter's smallest run."""
    if CHAPTERS[name] is None:
        return yaml.safe_load((checkout / "chapters" / "parameters" / name / "smoke.yaml").read_text("utf-8"))
    return {key: yaml.safe_load(str(value)) for key, value in smoke.parameters(CHAPTERS[name]).items()}


# ---- what a reader sees ----------------------------------------------------------------------------------


def wrong(cells: list[dict], notebook: nbformat.NotebookNode, scripts: Container[str] = ()) -> list[str]:
    """What keeps a notebook from being read, of its cells as a browser shows them.

    Cells that a script needs, too, are seen in nbconvert's HTML.
    """
    assert len(cells) == len(notebook.cells)
    faults, code = [], [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    for cell, seen in zip(notebook.cells, cells, strict=True):
        if cell.cell_type == "markdown" and not seen["shown"][0][1]:
            faults.append(f"{cell.id}: nothing is seen of it")
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False) and cell.id not in scripts
        if cell.cell_type == "code" and seen["code"] == hidden:
            faults.append(f"{cell.id}: its code is {'seen' if hidden else 'hidden'}")
        shown = [*seen["shown"], ["none", "", False]]
        for (kind, text, explorable), (_, below, _) in zip(shown[:-1], shown[1:], strict=True):
            faults += [f"{cell.id}: {bad} in {text}" for bad in RAW.findall(text) + BAR.findall(text)]
            if "stderr" in kind or "error" in kind:
                faults.append(f"{cell.id}: {text}")
            if (kind.startswith("image/") or explorable) and not below.startswith("Figure"):
                faults.append(f"{cell.id}: a figure without its caption")
    answer = " ".join(text for _, text, _ in cells[code[0]]["shown"])
    if not answer.startswith("The answer.") or len(answer) < 40:
        faults.append(f"on top stands no answer but: {answer}")
    return faults


def whole(notebook: nbformat.NotebookNode) -> list[dict]:
    """What a run shows, but for the time and for the places of bars, which are empty."""
    return [data for data in smoke.shown(notebook) if any(data.values())]


class Reading(NamedTuple):
    """A chapter in JupyterLab after two runs: the page's cells, and the notebook as each run left it."""

    given: dict
    page: list[dict]
    saved: list[nbformat.NotebookNode]
    bars: list[str]


@pytest.fixture(scope="module")
def lab(place, env, runs, browser):
    """A window of JupyterLab; its address."""
    (place / "desk").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--port={port}", "--ServerApp.port_retries=0", "--no-browser", "--allow-root"]
    options += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    options += [f"--ServerApp.root_dir={place / 'desk'}"]
    address, log = f"http://127.0.0.1:{port}/", place / "lab.log"
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(open(log, "w"))
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=place, env=env, stdout=said, stderr=said
        )
        stack.callback(server.wait, 60)
        stack.callback(server.terminate)
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}api", timeout=10):
                break
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.set_default_timeout(PATIENCE)
        stack.callback(context.close)
        yield context.new_page(), address


@pytest.fixture(scope="module")
def reading(name, place, checkout, lab) -> Reading:
    """A chapter whose parameters cell was edited, all cells run by the menu, and once more."""
    tab, address = lab
    path, given = place / "desk" / f"{name}.ipynb", smallest(checkout, name)
    notebook = nbformat.read(checkout / "chapters" / path.name, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    for key, value in given.items():
        cell.source, count = re.subn(rf"(?m)^({key}: .*? = ).*?(  #)", rf"\g<1>{value!r}\g<2>", cell.source)
        assert count == 1
    nbformat.write(notebook, path)
    tab.goto(f"{address}lab/workspaces/{name}/tree/{path.name}")  # of its own: no other notebook is open
    tab.wait_for_function(OPENED, arg=path.name)
    tab.evaluate(WATCH)
    saved = []
    for number in (1, 2):
        tab.get_by_role("menuitem", name="Run", exact=True).click()
        tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        code = sum(cell.cell_type == "code" for cell in notebook.cells)
        tab.wait_for_function(FINISHED, arg=number * code)
        tab.keyboard.press("Control+s")
        tab.wait_for_function(SAVED)
        saved.append(nbformat.read(path, as_version=4))
    page, bars = tab.evaluate(READ), tab.evaluate("window.bars")
    tab.evaluate("() => void jupyterapp.shell.currentWidget.sessionContext.shutdown()")  # nobody waits
    return Reading(given, page, saved, bars)


def test_in_jupyterlab_it_is_finished_text(reading):
    assert wrong(reading.page, reading.saved[-1]) == []


def test_in_jupyterlab_edited_values_count_as_changed(reading):
    texts = [text for cell in reading.page for _, text, _ in cell["shown"]]
    (changed,) = (text for text in texts if text.startswith("Changed in this run"))
    assert all(re.search(rf"(?m)^{key}\b", changed) for key in reading.given)
    (record,) = gate.records(reading.saved[-1], gate.CLAIMS_MIME)
    told = [claim["verdict"] for claim in record["claims"]]
    (verdicts,) = (text for text in texts if text.startswith("Claims and verdicts"))
    assert verdicts.count("out of range") == told.count("out of range") > len(told) / 3


def test_in_jupyterlab_a_second_run_shows_the_same_and_it_is_what_papermill_shows(name, reading, runs):
    first, second = map(whole, reading.saved)
    assert first and first == second
    if name in runs:
        assert first == whole(runs[name])


def test_in_jupyterlab_a_bar_is_seen_while_networks_train(name, reading):
    if name != NEW:
        pytest.skip("its networks are trained already")
    assert any(re.search(r"\b[1-9]\d*/\d+ \[", bar) for bar in reading.bars)


# ---- nbconvert -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(place, checkout, env):
    """The folder of a notebook that stood alone there, as papermill left it."""
    folder = place / "alone"
    folder.mkdir()
    shutil.copy(checkout / "chapters" / f"{NEW}.ipynb", folder)
    smallest = checkout / "chapters" / "parameters" / NEW / "smoke.yaml"
    done = python("-m", "papermill", f"{NEW}.ipynb", "out.ipynb", "-f", smallest, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_notebook_alone_runs_with_the_installed_library(place, checkout, env, alone):
    assert sorted(path.name for path in alone.iterdir()) == ["out.ipynb", f"{NEW}.ipynb"]
    done = python("-c", "import lib; print(lib.__file__)", cwd=alone, env=env)
    installed = place / "installed" / "lib"
    assert Path(done.stdout.strip()) == installed / "__init__.py"
    data = [
        path.relative_to(checkout / "lib") for path in (checkout / "lib").rglob("*") if path.suffix != ".py"
    ]
    data = [path for path in data if (checkout / "lib" / path).is_file()]
    assert {"references.bib", f"{NEW}.txt"} <= {path.name for path in data}
    assert [path for path in data if not (installed / path).is_file()] == []


@pytest.fixture(scope="module")
def html(place, env, runs, alone):
    """Folder of all executed copies as nbconvert's HTML."""
    folder = place / "html"
    folder.mkdir()
    for name, copy in {NEW: nbformat.read(alone / "out.ipynb", as_version=4), **runs}.items():
        nbformat.write(copy, folder / f"{name}.ipynb")
    done = python("-m", "nbconvert", "--to", "html", *folder.glob("*.ipynb"), cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return folder


def test_as_html_it_is_finished_text(name, html, browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    tab = context.new_page()
    tab.goto(f"file://{html}/{name}.html")
    assert wrong(tab.evaluate(READ), nbformat.read(html / f"{name}.ipynb", as_version=4), ["answer"]) == []
    context.close()


def test_as_a_script_it_says_in_one_line_how_to_run_it(place, checkout, env):
    """Of any chapter, since all begin alike (`test_project`)."""
    chapter = checkout / "chapters" / f"{NEW}.ipynb"
    words = ["nbconvert", "--to", "script", chapter, "--output-dir", place / "scripts"]
    done = python("-m", *words, cwd=place, env=env)
    assert done.returncode == 0, done.stderr
    done = python(f"{NEW}.py", cwd=place / "scripts", env=env)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == ""
    assert "open it in Jupyter" in line and "papermill chapter.ipynb out.ipynb" in line


# ---- papermill by all its ways ---------------------------------------------------------------------------

BAD = {"misspelt": ({"imagse": 200}, r"imagse: no such parameter; did you mean images\?"),
       "out of range": ({"images": 60001}, r"images: got '?60001'?, allowed: int, 100 to 50000")}  # fmt: skip
WAYS = ("-p", "-r", "-y", "-b", "-f")
ASKED = [(way, "misspelt") for way in WAYS] + [("-p", "out of range")]


def options(way: str, given: dict, file: Path) -> list[str]:
    """What papermill's command takes."""
    ((name, value),) = given.items()
    text = yaml.safe_dump(given)
    file.write_text(text)
    return {
        "-p": [way, name, str(value)], "-r": [way, name, str(value)], "-y": [way, text],
        "-b": [way, base64.b64encode(text.encode()).decode()], "-f": [way, str(file)],
    }[way]  # fmt: skip


@pytest.fixture(scope="module")
def refused(place, checkout, env):
    """What comes of the cells where TensorFlow cannot be imported, by way and what is bad.

    Without a kernel: for the command and one, see `test_edges`.
    """
    (place / "without").mkdir()
    (place / "without" / "tensorflow.py").write_text("raise ImportError('TensorFlow was imported')")
    env = env | {"PYTHONPATH": os.pathsep.join([str(place / "without"), env["PYTHONPATH"]])}
    chapter, asked = checkout / "chapters" / f"{NEW}.ipynb", [*ASKED, ("-p", "nothing")]
    given = {**{bad: given for bad, (given, _) in BAD.items()}, "nothing": {"images": 200}}
    runs = [(str(chapter), options(way, given[bad], place / f"{bad}.yaml")) for way, bad in asked]
    done = python(ROOT / "tests" / "cells.py", cwd=place, env=env, input=json.dumps(runs))
    assert done.returncode == 0, done.stderr
    return dict(zip(asked, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("way", "bad"), ASKED)
def test_papermill_refuses_before_tensorflow_is_imported(refused, way, bad):
    said = refused[way, bad]
    assert re.match(f"ParameterError: {BAD[bad][1]}", said["error"]) and said["chunks"] == 0
    assert refused["-p", "nothing"]["error"] == "ImportError: TensorFlow was imported"
