"""What continuous integration runs, with a stand-in for make: order, network, browser, what it ends with."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import conftest
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = "bash dirname git mkdir tee grep tail id unshare true readlink cat sleep".split()
MAKE = """echo "$1 $(readlink /proc/self/ns/net)" >> "$CALLS"
case $1 in
  test) echo '=== 40 passed, 2 skipped in 61.00s (0:01:01) ===' ;;
  look) echo '=== 20 passed in 9.50s ===' ;;
esac
[[ $1 != "$FAILS" ]] || { echo "$1 failed"; exit 2; }
[[ -z "$LEAVES" ]] || echo x > "$LEAVES"
"""
APT = """sleep "${APT_SECONDS:-0}"
echo "apt-get $*" >> "$CALLS"
[[ ${APT_STATUS:-0} == 0 ]] || echo "E: refused" >&2
exit "${APT_STATUS:-0}"
"""


@pytest.fixture
def ci(tmp_path):
    """Runs a copy of the script in a small git checkout; gives the finished process and what it called."""
    place, tools = tmp_path / "book", tmp_path / "tools"
    shutil.copytree(ROOT / ".ci", place / ".ci")
    (place / ".gitignore").write_text("/_build/\n")
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not in PATH")
        (tools / name).symlink_to(found)
    stands_in = {"make": MAKE, "apt-get": APT, "chromium": "", "sudo": 'shift\nexec "$@"\n'}
    for name, text in stands_in.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}")
        (tools / name).chmod(0o755)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a"]):
        subprocess.run(["git", *words], cwd=place, check=True, capture_output=True)

    def run(without=(), **environment):
        for name in without:
            (tools / name).unlink()
        calls = tmp_path / "calls"
        place_of = {"PATH": str(tools), "HOME": str(tmp_path), "CALLS": str(calls), "FAILS": "", "LEAVES": ""}
        done = subprocess.run(
            [place / ".ci" / "run"], env=place_of | environment, capture_output=True, text=True, timeout=120
        )
        return done, [line.split(" ", 1) for line in calls.read_text().splitlines()]

    return run


CASES = [
    "test_a.py::test_x", "test_a.py::TestC::test_y[k]", "test_chapters.py::test_x[one]",
    "test_chapters.py::test_y[one]", "test_chapters.py::test_x[two]", "test_chapters.py::test_x",
    "book/test_book.py::test_x", "book/test_preview.py::test_y", "tests/book/test_pages.py::test_x",
    "tests/lib/page/test_explore.py::test_y",
]  # fmt: skip
TOGETHER = {"test_a.py::test_x": CASES[:2], "test_chapters.py::test_x[one]": CASES[2:4],
            "test_chapters.py::test_x": CASES[5:6], "book/test_preview.py::test_x": CASES[6:8],
            "tests/book/test_pages.py::test_x": CASES[8:]}  # fmt: skip


@pytest.mark.parametrize("one", TOGETHER)
def test_tests_are_dealt_by_file_and_those_of_chapters_by_case(one):
    assert [case for case in CASES if conftest.together(case) == conftest.together(one)] == TOGETHER[one]


def test_a_window_of_a_built_book_is_dealt_to_one_process():
    """All pages are loaded in it before the first of its tests."""
    file = "tests/book/test_pages.py"
    cases = [f"{file}::test_x[{window}-{what}]" for window in ("desktop", "phone") for what in ("a", "b")]
    assert [conftest.together(case, True) for case in cases] == ["desktop", "desktop", "phone", "phone"]
    assert {conftest.together(case) for case in cases} == {file}


def test_a_file_is_dealt_to_one_process(tmp_path):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(
            "import os, pytest, time\n"
            "@pytest.mark.parametrize('k', range(6))\n"
            "def test_x(k, testrun_uid):\n"
            "    time.sleep(0.05)\n"
            f"    with open('{name}.seen', 'a') as f: f.write(f'{{os.getpid()}}\\n')\n"
        )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    seen = [(tmp_path / f"{name}.seen").read_text().split() for name in ("test_a.py", "test_b.py")]
    assert [len(pids) for pids in seen] == [6, 6]
    assert all(len(set(pids)) == 1 for pids in seen) and seen[0] != seen[1]


def test_all_is_run_in_order_and_the_closing_lines_come_last(ci):
    done, calls = ci()
    assert done.returncode == 0, done.stderr
    assert [target for target, _ in calls] == ["lint", "test", "book", "look"]
    last = done.stdout.splitlines()[-2:]
    assert "passed; tests: === 40 passed, 2 skipped in 61.00s" in last[0]
    assert "passed; pages: === 20 passed in 9.50s" in last[1]
    assert all(re.match(r"== \d+ min \d\d s: ", line) for line in last)


def test_only_the_book_is_built_without_a_network(ci):
    if subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True).returncode:
        pytest.skip("this system does not let us make a place without a network")
    done, calls = ci()
    ours = os.readlink("/proc/self/ns/net")
    assert {target: place == ours for target, place in calls} == {
        "lint": True, "test": True, "book": False, "look": True,
    }  # fmt: skip
    assert "without a network" in done.stdout


def test_where_the_network_cannot_be_taken_away_the_book_is_built_all_the_same(ci):
    done, calls = ci(without=["unshare"])
    assert done.returncode == 0, done.stderr
    assert "does not let us take the network away" in done.stdout
    assert [target for target, _ in calls] == ["lint", "test", "book", "look"]


@pytest.mark.parametrize("target", ["lint", "test", "book", "look"])
def test_what_fails_stops_it(ci, target):
    done, calls = ci(FAILS=target)
    assert done.returncode == 2
    assert calls[-1][0] == target and "passed;" not in done.stdout


@pytest.mark.parametrize(("fails", "status"), [("", 0), ("lint", 2)])
def test_where_there_is_no_browser_one_is_installed_beside_the_rest_and_waited_for(ci, fails, status):
    done, calls = ci(without=["chromium"], APT_SECONDS="0.5", FAILS=fails)
    assert done.returncode == status, done.stderr
    assert [" ".join(call) for call in calls if call[0] == "apt-get"] == [
        "apt-get update -qq",
        "apt-get install -qq -y --no-install-recommends chromium",
    ]
    assert [name for name, _ in calls][:3] == ["lint", "apt-get", "apt-get"]


@pytest.mark.parametrize("how", ["no apt-get", "refused"])
def test_where_no_browser_can_be_installed_it_says_so_and_goes_on(ci, how):
    done, calls = ci(["chromium", "apt-get"]) if how == "no apt-get" else ci(["chromium"], APT_STATUS="100")
    assert done.returncode == 0, done.stderr
    assert "no browser can be installed here: the tests that want one are skipped" in done.stdout
    assert ("E: refused" in done.stdout) == (how == "refused")
    assert [target for target, _ in calls if target != "apt-get"] == ["lint", "test", "book", "look"]


def test_a_file_that_is_left_behind_is_told(ci):
    done, _ = ci(LEAVES="left.txt")
    assert done.returncode == 1
    assert "left.txt" in done.stderr and "passed;" not in done.stdout
