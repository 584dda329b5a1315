"""Which Python make takes for the environment, of stand-ins in PATH that say they are of some version."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = """#!/bin/bash
[[ $1 != -c ]] || exec {real} -c 'import sys; {is_one}; exec(sys.argv[1])' "$2"
echo "{name} $*" >> calls
mkdir -p .venv/bin && cp inside .venv/bin/python
"""
INSIDE = '#!/bin/bash\necho "inside $*" >> calls\n'
UV = '#!/bin/bash\necho "uv $*" >> calls\nmkdir -p .venv/bin && cp inside .venv/bin/python\n'
OF = {
    **{f"3.{minor}": f"sys.version_info = (3, {minor}, 0)" for minor in range(10, 15)},
    "3.12 without venv": 'sys.version_info = (3, 12, 0); sys.modules["ensurepip"] = None',
    "broken": "sys.exit(127)",
}


@pytest.fixture
def make(tmp_path):
    """Makes the environment where these Pythons are; gives the finished process and what it called."""
    tools = {name: shutil.which(name) for name in ("make", "bash", "mkdir", "cp", "touch")}
    if None in tools.values():
        pytest.skip(f"not in PATH: {', '.join(name for name, path in tools.items() if path is None)}")
    place, path = tmp_path / "book", tmp_path / "tools"
    place.mkdir()
    path.mkdir()
    shutil.copy(ROOT / "Makefile", place)
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml"):
        (place / name).touch()

    def put(file: Path, text: str):
        file.write_text(text)
        file.chmod(0o755)

    put(place / "inside", INSIDE)
    for name, tool in tools.items():
        (path / name).symlink_to(tool)

    def run(pythons, *words, uv=False, **environment):
        for name, version in pythons.items():
            put(path / name, PYTHON.format(real=sys.executable, is_one=OF[version], name=name))
        if uv:
            put(path / "uv", UV)
        calls = place / "calls"
        calls.write_text("")
        done = subprocess.run(
            ["make", "--no-print-directory", *words, ".venv/.installed"], cwd=place,
            env={"PATH": str(path), **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done, [line for line in calls.read_text().splitlines() if "pip --version" not in line]

    return run


INSTALLS = "inside -m pip install --disable-pip-version-check -r requirements.txt"


@pytest.mark.parametrize(
    ("pythons", "uv", "taken"),
    [
        ({"python3": "3.11"}, False, "python3"),
        ({"python3": "3.13"}, True, "python3"),
        ({"python3": "3.14", "python3.12": "3.12", "python3.13": "3.13"}, True, "python3.12"),
        ({"python3": "3.13", "python3.11": "3.11", "python3.12": "3.12"}, False, "python3.11"),
        ({"python3": "3.14", "python3.11": "broken", "python3.13": "3.13"}, False, "python3.13"),
    ],
)
def test_the_first_python_that_fits_makes_the_environment(make, pythons, uv, taken):
    done, calls = make(pythons, uv=uv)
    assert done.returncode == 0, done.stderr
    assert calls == [f"{taken} -m venv --clear .venv", INSTALLS]


@pytest.mark.parametrize("pythons", [{}, {"python3": "3.14"}, {"python3": "3.12 without venv"}])
def test_where_none_fits_uv_gets_one(make, pythons):
    done, calls = make(pythons, uv=True)
    assert done.returncode == 0, done.stderr
    assert calls == ["uv venv --clear --seed --python 3.11 .venv", INSTALLS]


@pytest.mark.parametrize("python3", [None, "3.14", "3.10", "3.12 without venv"])
def test_where_none_fits_and_there_is_no_uv_one_line_says_how(make, python3):
    done, calls = make({"python3": python3} if python3 else {})
    assert done.returncode != 0 and calls == []
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ***")]
    assert len(said) == 1
    assert re.search(r"Python 3\.11 to 3\.13 .* python3 .*python3-venv.* uv .* make PYTHON=", said[0])


@pytest.mark.parametrize("how", ["command line", "environment"])
def test_a_python_that_is_named_is_taken_or_none(make, how):
    pythons = {"python3.11": "3.11", "mine": "3.14"}
    given = {"PYTHON": "mine"} if how == "environment" else {}
    done, calls = make(pythons, *([] if given else ["PYTHON=mine"]), uv=True, **given)
    assert done.returncode != 0 and calls == []
    assert "is wanted, mine is not" in done.stderr


def test_an_environment_that_works_is_kept_whatever_python_there_is(make):
    make({"python3": "3.12"})
    done, calls = make({"python3": "3.14"}, "--always-make")
    assert done.returncode == 0, done.stderr
    assert calls == [INSTALLS]
