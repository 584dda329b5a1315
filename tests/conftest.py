"""How the tests are dealt to several processes and cores, and with which browser pages are read."""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--book FOLDER``: read these built pages in the browser instead of a toy book's."""
    parser.addoption("--book", type=Path, help="folder of built pages for tests/book/test_pages.py")


def together(nodeid: str, built: bool = False) -> str:
    """What a test is dealt to a process with: its file, so that what a file's tests share is made once.

    The chapters are dealt by case: nobody has to wait for another chapter or another edge. So are the pages
    of a book that is built already, by window.
    """
    file, _, test = nodeid.partition("::")
    name, _, case = test.partition("[")
    by_case = file.endswith("test_chapters.py") and "refused" not in name
    by_case |= file.endswith("test_pages.py") and built
    return case or name if by_case else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Deals the tests to several processes as `together` says."""
    from xdist.scheduler import LoadScopeScheduling

    built = config.getoption("--book") is not None

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid, built)

    return Together(config, log)


@pytest.fixture
def one_core():
    """One core for the chapter, which then trains in its kernel: of several workers each compiles all."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(before)[number % len(before)]})
    yield
    os.sched_setaffinity(0, before)


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
