"""Kernels that are forked: as any other one, but that what chapters import is there already."""

import io
import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
import toy_book

from book import contents, forked, kernels, progress, run
from lib.ensembles import places

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
LOOK = f"""import json, os, signal, sys
parent = os.getppid()
print(json.dumps([
    parent, len(os.listdir("/proc/" + str(parent) + "/task")),
    os.getpgid(0) == os.getpid(), os.path.basename(os.getcwd()),
    [name in sys.modules for name in ("tensorflow", "{forked.__name__}", "papermill")],
    "SGD_BOOK_PROGRESS" in os.environ, os.environ.get("A_VARIABLE"),
    signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []),
]))"""


def ran(folder, code, root=contents.ROOT):
    """A chapter's cell, which is run as one of many."""
    notebook = toy_book.save(folder / "toy.ipynb", toy_book.chapter(code))
    out = folder / "build" / "out.ipynb"
    return run.run(notebook, out, {}, progress.Progress("toy", stream=io.StringIO()), root).cells[3]


def test_it_has_what_chapters_import_and_all_else_as_any_other(tmp_path, monkeypatch):
    def looked(root=contents.ROOT):
        return json.loads(ran(tmp_path, LOOK, root).outputs[0].text)

    parent, *rest = looked()
    assert parent != os.getpid()
    assert rest == [1, True, contents.ROOT.name, [True, True, False], True, None, False]
    monkeypatch.setenv("A_VARIABLE", "set since")
    again, *_, variable, _ = looked()
    assert again == parent and variable == "set since"
    toy_book.library(tmp_path)
    parent, _, *rest = looked(tmp_path)
    assert parent == os.getpid(), "another project has another library"
    assert rest == [True, tmp_path.name, [False] * 3, True, "set since", False]
    monkeypatch.setenv("TF_A_VARIABLE", "1")
    assert looked()[0] == os.getpid(), "TensorFlow may have read it before"


def test_one_that_dies_is_told_as_any_other(tmp_path):
    with pytest.raises(run.RunError, match="DeadKernelError: Kernel died"):
        ran(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["out.failed.ipynb"]


def test_alone_on_a_machine_it_is_not_forked(monkeypatch, tmp_path):
    assert issubclass(kernels.manager(tmp_path, contents.ROOT), kernels._Forked)
    monkeypatch.delenv(places.ONE_THREAD)
    assert not issubclass(kernels.manager(tmp_path, contents.ROOT), kernels._Forked)


def test_it_ends_when_the_process_that_wanted_it_is_killed(tmp_path):
    hang = "import os, time\nprint(os.getpid(), file=open({!r}, 'w'), flush=True)\ntime.sleep(600)"
    code = f"import pathlib, test_kernels\ntest_kernels.ran(pathlib.Path({str(tmp_path)!r}), {hang!r})"
    there = tmp_path / "kernel"
    paths = [str(contents.ROOT), str(contents.ROOT / "tests"), os.path.dirname(__file__)]
    process = subprocess.Popen(
        [sys.executable, "-c", code.replace("{!r}", repr(str(there)))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (there.exists() and there.read_text().endswith("\n")):
        assert process.poll() is None
    kernel = psutil.Process(int(there.read_text()))
    process.send_signal(signal.SIGKILL)
    process.wait()
    kernel.wait(60)
