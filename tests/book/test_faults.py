"""Faults from outside while a book is made: no network, killed processes, a full disk, a second build there.

Each build is a process of its own, as a reader would start it.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import toy_book

from book import gate, standing

PATIENCE = 300  # seconds
COMMAND = "import sys, pathlib; from book import cli; sys.exit(cli.main(sys.argv[1:], pathlib.Path('.')))"


def place(root: Path) -> dict[str, str]:
    """Environment of a command in a toy project."""
    chunks = root.resolve() / "_build" / "chunks"
    return {**os.environ, "PYTHONPATH": str(toy_book.PROJECT), "SGD_BOOK_CHUNKS": str(chunks)}


PIPES = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def start(root: Path, *command: str, within=(), before: str = "") -> subprocess.Popen:
    """Start a command of the book in a toy project, at the head of a process group of its own."""
    command = [*within, sys.executable, "-c", before + COMMAND, *command]
    return subprocess.Popen(command, cwd=root, env=place(root), start_new_session=True, **PIPES)


def ended(process: subprocess.Popen) -> str:
    """What a command said, when it went well."""
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def results(root: Path) -> dict[str, object]:
    """All that a book tells: numbers, claims and figures of the copies, chunks, and pages, to the bit."""
    found: dict[str, object] = {}
    for path in sorted((root / "_build" / "executed" / "full").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        found[path.name] = [
            (name, output.get("data"), output.get("text"), output.get("metadata"))
            for name, output in gate.outputs(notebook)
        ]
    build = root / "_build"
    pages = [*(build / "html" / "chapters").glob("*.html"), *(build / "html" / "figures").rglob("*.*")]
    for path in [*(build / "chunks").glob("*.chunk"), *pages, build / "html" / "scoreboard.html"]:
        found[str(path.relative_to(build))] = path.read_bytes()
    return found


def alone(*options: str, trial=("true",)) -> list[str]:
    """A command that runs another in a name space of its own; none where the system does not let us."""
    command = ["unshare", "--map-root-user", *options]
    there = shutil.which("unshare")
    return command if there and not subprocess.run([*command, *trial], capture_output=True).returncode else []


OFFLINE = alone("--net")
NO_NETWORK = pytest.mark.skipif(
    not OFFLINE, reason="this system does not let us make a place without a network (unshare --net)"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A book that nothing happened to, made where there is no network if the system lets us."""
    root = toy_book.working(tmp_path_factory.mktemp("undisturbed") / "book")
    ended(start(root, "build", within=OFFLINE))
    return root


@pytest.fixture
def fresh(tmp_path):
    """The same project before anything ran."""
    return toy_book.working(tmp_path / "book")


def same(root: Path, other: Path) -> bool:
    """Whether two books tell the same, and some of everything."""
    one, two = results(root), results(other)
    assert {Path(name).suffix for name in two} == {".ipynb", ".chunk", ".html", ".svg", ".csv", ".json"}
    assert sorted(one) == sorted(two)
    return [name for name in one if one[name] != two[name]] == []


# ---- no network ------------------------------------------------------------------------------------------

CALL = "import socket; socket.create_connection(('127.0.0.1', int({port})), 5)"


@NO_NETWORK
def test_the_book_is_built_without_a_network_not_even_to_this_machine(undisturbed):
    """With data that was fetched before, networks trained in an ensemble, and all pages."""
    for name in ("toy", "second"):
        assert "The mean is" in (undisturbed / "_build" / "html" / "chapters" / f"{name}.html").read_text()
    assert list((undisturbed / "_build" / "chunks").glob("*.chunk"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = [sys.executable, "-c", CALL.format(port=server.getsockname()[1])]
        assert subprocess.run(call).returncode == 0
        done = subprocess.run([*OFFLINE, *call], capture_output=True, text=True)
    assert done.returncode != 0 and "Network is unreachable" in done.stderr


@NO_NETWORK
def test_data_that_was_not_fetched_is_one_clear_error(tmp_path):
    """Each source says why it fails, and none is waited for."""
    empty = dict.fromkeys(("SGD_BOOK_CACHE", "KERAS_HOME", "HOME"), str(tmp_path))
    done = subprocess.run(
        [*OFFLINE, sys.executable, "-m", "book", "data", "fetch"],
        cwd=toy_book.PROJECT, env={**os.environ, **empty}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no source gives MNIST" in done.stderr and "Set SGD_BOOK_MNIST" in done.stderr
    assert "Traceback" not in done.stderr


# ---- killed ----------------------------------------------------------------------------------------------


def until(reached, process: subprocess.Popen, root: Path) -> None:
    """Wait until a build has come so far."""
    end = time.monotonic() + PATIENCE
    while not reached(root / "_build"):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def alive(process: psutil.Process) -> bool:
    """Whether a process still does something; who has ended may wait to be noticed."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(process: subprocess.Popen, all_of_it: bool) -> list[psutil.Process]:
    """End a build at once, alone or with whatever it has started, which it returns."""
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in started if all_of_it else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.stdout.close()
    process.wait(PATIENCE)
    return started


# The build as a reader starts it, but it kills itself while it replaces the pages: the old ones are away.
PUBLISHING = """
import os, signal
from book import build
rename = os.rename
def killed(source, target):
    rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
build.os.rename = killed
"""
STAGES = {  # what is there when a build is killed in it; and whether what it has started is, too
    "starting": (lambda build: (build / "lock").exists(), True),
    "a kernel trains": (lambda build: len(list(build.glob("chunks/*.chunk"))) >= 2, False),
    "the kernel goes on meanwhile": (lambda build: len(list(build.glob("chunks/*.chunk"))) >= 5, True),
    "the second chapter runs": (lambda build: (build / "executed" / "full" / "toy.ipynb").exists(), True),
    "pages are built": (lambda build: list(build.glob("staging/full/_build/html/*.html")), False),
}


def test_a_build_killed_at_every_stage_ends_with_the_same_book(undisturbed, fresh):
    """Some kills leave a kernel, which goes on for a moment beside the next build; nothing outlives them."""
    started = []
    for name, (reached, all_of_it) in STAGES.items():
        process = start(fresh, "build")
        until(reached, process, fresh)
        children = kill(process, all_of_it)
        assert children or all_of_it, name
        started += children
    end = time.monotonic() + 30
    while left := [child for child in started if alive(child)]:
        assert time.monotonic() < end, left
        time.sleep(0.05)
    ended(start(fresh, "build"))
    (fresh / "_build" / "html" / standing.MARK).unlink()  # or the pages that are there would do
    said, _ = start(fresh, "build", before=PUBLISHING).communicate(timeout=PATIENCE)
    assert not (fresh / "_build" / "html").exists(), said
    ended(start(fresh, "build"))
    assert same(fresh, undisturbed)
    copies = {path.name for path in (fresh / "_build" / "executed" / "full").iterdir()}
    assert copies == {"toy.ipynb", "second.ipynb"}
    assert not list((fresh / "_build").glob(".*"))
    chunks = list((fresh / "_build" / "chunks").iterdir())
    assert {path.suffix for path in chunks} == {".chunk"}
    for content in (path.read_bytes() for path in chunks):
        assert hashlib.sha256(content[32:]).digest() == content[:32], "whole"


# ---- two at once -----------------------------------------------------------------------------------------


def test_of_two_builds_at_once_one_waits_and_both_end_with_a_good_book(undisturbed, fresh):
    first = start(fresh, "build")
    until(lambda build: (build / "lock").exists() and (build / "lock").read_text(), first, fresh)
    second = start(fresh, "build")
    assert "waiting" not in ended(first)
    said = ended(second)
    assert f"waiting for another build in this checkout to end: process {first.pid}, " in said
    assert said.count("current, not run again") == 2
    assert same(fresh, undisturbed)


def test_two_papermills_at_once_share_their_chunks(undisturbed, fresh):
    papermill = [sys.executable, "-m", "papermill", "--no-progress-bar", "chapters/toy.ipynb"]
    runs = [
        subprocess.Popen([*papermill, f"{name}.ipynb"], cwd=fresh, env=place(fresh), **PIPES)
        for name in ("one", "two")
    ]
    for process in runs:
        ended(process)
    expected = nbformat.read(undisturbed / "_build" / "executed" / "full" / "toy.ipynb", as_version=4)
    for name in ("one", "two"):
        notebook = nbformat.read(fresh / f"{name}.ipynb", as_version=4)
        for mime in (gate.CLAIMS_MIME, gate.DATA_MIME):
            assert gate.records(notebook, mime) == gate.records(expected, mime) != []
    names = [{path.name for path in (root / "_build" / "chunks").iterdir()} for root in (fresh, undisturbed)]
    assert names[0] == names[1]


# ---- a full disk -----------------------------------------------------------------------------------------

# In a name space of its own, where this process may mount a small disk. The ballast leaves so many bytes.
FULL = """
import json, os, shutil, sys
from pathlib import Path
sys.path.append(sys.argv[3])
import toy_book
from book import build

root, disk, found = Path("."), Path("_build"), []

def listing():
    return {str(p): p.read_bytes() for p in sorted((disk / "html").rglob("*")) if p.is_file()}

def attempt():
    said = []
    return build.build(root, "full", said.append), "\\n".join(said)

assert build.run_chapters(root, "full") == [] and build.keep_record(root) == 0
assert build.build(root, "full") == 0
good = listing()
for free, runs in json.loads(sys.argv[1]):
    if runs:  # it is run on the full disk; or only the pages are built there, of the chapter as it now is
        toy_book.save(root / "chapters" / "toy.ipynb", toy_book.chapter(f"print({free})"))
    space = os.statvfs(disk)
    with open(disk / "ballast", "wb") as ballast:
        ballast.write(bytes(max(0, space.f_bavail * space.f_frsize - free)))
    status, said = attempt()
    kept = listing() == good
    half = (".tmp", ".part", ".progress", ".running.ipynb")
    left = [str(p) for p in disk.rglob("*") if p.name.endswith(half)]
    (disk / "ballast").unlink()
    again = build.run_chapters(root, "full")
    found.append({"free": free, "status": status, "said": said, "kept": kept, "left": left, "again": again})
status, said = attempt()
assert status == 0 and listing() != good, said
json.dump(found, open(sys.argv[2], "w"))
"""


DISK = alone("--mount", trial=("sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"))


@pytest.mark.skipif(not DISK, reason="this system does not let us mount a small disk (unshare --mount)")
def test_a_disk_that_is_full_at_any_stage_leaves_the_last_good_book(tmp_path):
    root = toy_book.project(tmp_path / "book", toy=toy_book.chapter())
    (root / "_build").mkdir()
    script = 'mount -t tmpfs -o size=64m tmpfs _build && exec "$0" -c "$@"'
    # nothing at all; a notebook does not fit; nor do the pages; nearly
    cases = [(0, True), (20_000, True), (300_000, False), (4_000_000, False)]
    out, tests = tmp_path / "found.json", str(toy_book.PROJECT / "tests")
    done = subprocess.run(
        [*DISK, "sh", "-c", script, sys.executable, FULL, json.dumps(cases), str(out), tests],
        cwd=root, env=place(root), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    for case in found:
        assert case["status"] == 1, case
        wrong = case["said"].partition("NOT built:\n")[2].splitlines()
        assert len(wrong) == 2, wrong
        assert re.search(r"cannot .* _build/.*: No space left on device$", wrong[0]), wrong
        assert (case["kept"], case["left"], case["again"]) == (True, [], []), case
    assert [case["free"] for case in found] == [free for free, _ in cases]
