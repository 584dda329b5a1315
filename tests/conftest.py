"""How the tests are dealt to several processes, what they share, and with which browser pages are read."""

import contextlib
import fcntl
import functools
import gc
import http.server
import os
import shutil
import threading
from pathlib import Path

import nbformat
import pytest

from lib.ensembles import places

places.alone()  # a process of tests is one of many, and so are the kernels it starts: they compute themselves


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--book FOLDER``: read these built pages in the browser instead of a toy book's."""
    parser.addoption("--book", type=Path, help="folder of built pages for tests/book/test_pages.py")


# What takes longest is dealt first, so that all processes end together.
LONGEST = (
    "test_edges.py", "test_chapters.py", "test_notebooks.py", "test_faults.py", "test_sweep.py",
    "test_cluster.py", "test_drift.py", "test_book.py", "test_plateaus.py", "test_phases.py",
    "test_template.py", "test_pages.py", "test_readme.py", "test_staged.py", "test_run.py",
    "test_ensemble.py", "test_train.py", "test_convnets.py",
    "test_places.py", "test_explore.py",
)  # fmt: skip


def together(nodeid: str, built: bool = False) -> str:
    """What a test is dealt to a process with: its file, so that what a file's tests share is made once.

    The chapters are dealt by case: nobody has to wait for another chapter. So are the pages of a book that is
    built already, by window. Files that look at the same toy book stay together.
    """
    file, _, test = nodeid.partition("::")
    name, _, case = test.partition("[")
    if built and file.endswith("test_pages.py"):
        return case.partition("-")[0] or name
    if file.endswith("test_chapters.py"):
        return case or name
    same = {"book/test_preview.py": "book/test_book.py", "lib/page/test_explore.py": "book/test_pages.py"}
    return next((file.replace(one, other) for one, other in same.items() if one in file), file)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported stays: looking through it for garbage takes a third of this, and a twentieth later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first; within a file the order stays."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Deals the tests to several processes as `together` says, in their order."""
    from xdist.scheduler import LoadScopeScheduling

    built = config.getoption("--book") is not None
    config.option.loadscopereorder = False  # it would put first what has most tests, however short they are

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid, built)

    return Together(config, log)


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """The run of a chapter at its smallest scale and its folder: one run for all tests of all processes."""
    import smoke  # not sooner: it takes seconds

    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place

    def once(chapter: Path) -> tuple[nbformat.NotebookNode, Path]:
        folder = place / f"run of {chapter.stem}"
        with open(place / f"{chapter.stem}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "whole.ipynb").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("SGD_BOOK_CHUNKS", str(folder / "chunks"))
                    nbformat.write(smoke.execute(chapter, folder), folder / "whole.ipynb")
        return nbformat.read(folder / "whole.ipynb", as_version=4), folder

    return once


@pytest.fixture(scope="session")
def split():
    """Images and digits of training, validation and test."""
    from lib import data

    return data.split_nielsen(data.load())


@pytest.fixture
def chunks(tmp_path, monkeypatch):
    """The folder of this test's chunks; its progress goes to a file beside it."""
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    monkeypatch.setenv("SGD_BOOK_PROGRESS", str(tmp_path / "progress"))
    return tmp_path / "chunks"


@pytest.fixture(scope="session")
def nowhere():
    """An environment that names no address."""
    from book import contents

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(contents.URL, raising=False)
        patch.delenv("SGD_BOOK_REPOSITORY", raising=False)
        yield patch


@pytest.fixture(scope="session")
def built(tmp_path_factory, nowhere):
    """A toy book built as a preview, then run, recorded and built in full: the preview stays as it was.

    Tests that change something in it take a copy.
    """
    import toy_book

    from book import cli

    chapter = toy_book.chapter("print('secret')", "print('folded')", "print('shown')")
    chapter.cells[3].metadata["tags"] = ["remove-cell"]
    chapter.cells[4].metadata["jupyter"] = {"source_hidden": True}
    chapter.cells[6].metadata["jupyter"] = {"source_hidden": True}
    root = toy_book.project(tmp_path_factory.mktemp("built") / "book", toy=chapter)
    for command in ("build --preview", "gate --preview"):
        assert cli.main(command.split(), root) == 0, command
    assert not (root / "_build" / "html").exists(), "a preview stands in the place of the book"
    preview = toy_book.files(root / "_build" / "preview" / "html")
    for command in ("run", "record", "build", "gate"):
        assert cli.main([command], root) == 0, command
    assert toy_book.files(root / "_build" / "preview" / "html") == preview
    return root


@pytest.fixture(scope="session")
def explored(tmp_path_factory):
    """A toy book built at both scales; its chapter has explorable figures and drawings."""
    import toy_book

    from book import cli

    chapter = toy_book.chapter(toy_book.EXPLORED, toy_book.DRAWN)
    root = toy_book.project(tmp_path_factory.mktemp("explored") / "book", toy=chapter)
    for command in ("run", "record", "build", "build --preview"):
        assert cli.main(command.split(), root) == 0, command
    return root


# ---- pages in a browser ----------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    """A browser without a window; as long as it lives, this process can run no chapter."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pages in a browser: pip install -r requirements-test.txt"
    )
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(
            f"pages in a browser: none of {', '.join(BROWSERS)} is in PATH (apt-get install chromium)"
        )
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def serve():
    """Shows a folder at an address of this machine, which it returns."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path) -> str:
            handler = functools.partial(_Silent, directory=folder)
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/"

        yield start
