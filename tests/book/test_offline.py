"""The book without a network: chapters and pages are made where there is no interface at all."""

import os
import shutil
import socket
import subprocess
import sys

import pytest
import toy_book

ALONE = ["unshare", "--map-root-user", "--net"]
BUILD = "import sys; from pathlib import Path; from book import cli; sys.exit(cli.main(['build'], Path('.')))"
CALL = "import socket; socket.create_connection(('127.0.0.1', int({port})), 5)"


@pytest.fixture(scope="module")
def alone():
    """A command that runs another where there is no network."""
    if not shutil.which("unshare") or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip(
            "this system does not let us make a place without a network (unshare --map-root-user --net)"
        )
    return ALONE


def test_there_is_no_network_in_there_not_even_to_this_machine(alone):
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = [sys.executable, "-c", CALL.format(port=server.getsockname()[1])]
        assert subprocess.run(call).returncode == 0
        done = subprocess.run([*alone, *call], capture_output=True, text=True)
    assert done.returncode != 0 and "Network is unreachable" in done.stderr


def test_the_book_is_built_without_a_network(alone, tmp_path):
    """With data that was fetched before, networks trained in an ensemble, and all pages."""
    root = toy_book.working(tmp_path / "book")
    place = {"PYTHONPATH": str(toy_book.PROJECT), "SGD_BOOK_CHUNKS": str(root / "_build" / "chunks")}
    done = subprocess.run(
        [*alone, sys.executable, "-c", BUILD],
        cwd=root, env={**os.environ, **place}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("toy", "second"):
        assert "The mean is" in (root / "_build" / "html" / "chapters" / f"{name}.html").read_text()
    assert list((root / "_build" / "chunks").glob("*.chunk"))


def test_data_that_was_not_fetched_is_one_clear_error(alone, tmp_path):
    """Each source says why it fails, and none is waited for."""
    place = {"SGD_BOOK_CACHE": str(tmp_path), "KERAS_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [*alone, sys.executable, "-m", "book", "data", "fetch"],
        cwd=toy_book.PROJECT, env={**os.environ, **place}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no source gives MNIST" in done.stderr and "Set SGD_BOOK_MNIST" in done.stderr
    assert "Traceback" not in done.stderr
