"""What the README tells its readers to type does what it says, in a fresh copy of the project."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import smoke

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CHAPTER = "chapters/greedy_layerwise_training.ipynb"

# Run here: the command, its exit status, and a part of what it says.
RUN = {
    f"papermill --help-notebook {CHAPTER}": (0, "networks: int"),
    "sgd-book data where": (0, "mnist"),
    "sgd-book data verify": (0, "content verified"),
    "make status": (0, "not run"),
    "sgd-book --help": (0, "sweep"),
    "python -m book": (2, "sweep"),  # no command is one too few
    "make record": (2, "nothing was recorded"),  # there is nothing yet
    "sgd-book sweep --help": (0, "--grid"),
    "sgd-book sweep greedy_layerwise_training -p networks 50 --grid rate=0.002,0.005,0.01 --dry-run": (
        0,
        "3 to run of 3",
    ),
    "make clean": (0, "rm -rf _build"),
    "make chapter NAME=wide_nets": (0, "listed in _toc.yml"),  # after all others: it adds a chapter
}
# Run here with something more: see the tests below.
SPECIAL = {f"papermill {CHAPTER} mine.ipynb", "make serve", "make lab", ". .venv/bin/activate"}
# Too long to be run here: the file that has each run, and how it stands there.
ELSEWHERE = {
    "make book": (".ci/run", "make book"),
    "make test": (".ci/run", "make test"),
    "make lint": (".ci/run", "make lint"),
    "make preview": (".github/workflows/check.yml", "make preview"),
    "python3.11 -m venv .venv": ("Makefile", "$(PYTHON) -m venv --clear $(VENV)"),
    "pip install -r requirements.txt": ("Makefile", "-r requirements.txt"),
    "pip install -r requirements-test.txt": ("Makefile", "-r requirements-test.txt"),
    "sgd-book data fetch": ("Makefile", "$(PY) -m book data fetch"),
    "sgd-book build": ("Makefile", "$(PY) -m book build\n"),
    "sgd-book build --preview": ("Makefile", "$(PY) -m book build --preview"),
    "python -m pytest": ("Makefile", "$(PY) -m pytest"),
    "make pdf": ("tests/book/test_latex.py", 'cli.main(["pdf"]'),
    "jupyter-book build .": ("tests/book/test_book.py", "test_a_plain_build_without_a_network"),
}
STARTS = r"(?:make|python[\d.]*|pip|papermill|jupyter-book|sgd-book)"


def commands() -> list[str]:
    """All commands of the README, without comments: of its blocks, its tables and its sentences."""
    lines = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()]
    lines += re.findall(rf"`({STARTS} [^`\n]+)`", README)
    lines += re.findall(rf"# or: ({STARTS} .+)", README)
    parts = [part.strip() for line in lines for part in line.partition("#")[0].split("&&")]
    return list(dict.fromkeys(part for part in parts if part))


def test_every_command_of_the_readme_is_run_somewhere():
    found = commands()
    assert len(found) > 10
    known = RUN.keys() | ELSEWHERE.keys() | SPECIAL
    new = [c for c in found if c not in known and c.partition(" -p ")[0] not in known]
    assert not new, "list it in RUN, SPECIAL or ELSEWHERE, and see that it is run there"
    gone = [c for c in known if c not in {f.partition(" -p ")[0] for f in found} | set(found)]
    assert not gone, "the README does not name it any more"


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_not_run_here_is_run_where_it_is_said(command):
    name, part = ELSEWHERE[command]
    assert part in (ROOT / name).read_text("utf-8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What somebody gets who clones the project as it is now, with this environment as theirs."""
    if sys.prefix == sys.base_prefix or not shutil.which("make"):
        pytest.skip("wants make, and Python in a virtual environment")
    place = tmp_path_factory.mktemp("clone") / "sgd-book"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for part in Path(sys.prefix).iterdir():  # the marks of what is installed are the copy's own
        if not part.name.startswith("."):
            (place / ".venv").mkdir(exist_ok=True)
            (place / ".venv" / part.name).symlink_to(part)
    for mark in (".installed", ".installed-test"):
        (place / ".venv" / mark).touch()
    (place / "_scripts").mkdir()
    script = place / "_scripts" / "sgd-book"  # as pip makes it; this environment has that of another folder
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom book.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return place


def environment(clone: Path) -> dict[str, str]:
    """Of a reader who has activated the environment."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")},
        "PATH": os.pathsep.join([str(clone / "_scripts"), str(clone / ".venv" / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": str(clone),  # this environment knows the library of another folder
        "PIP_DRY_RUN": "1",  # the environment is that of the tests: nothing may be installed in it
        "SGD_BOOK_CHUNKS": str(clone / "_build" / "chunks"),
    }


def typed(clone: Path, command: str) -> subprocess.CompletedProcess:
    """What came of a command that a reader types in that folder."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=clone, env=environment(clone), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("command", RUN)
def test_a_command_does_what_it_says(clone, command):
    status, part = RUN[command]
    done = typed(clone, command)
    assert done.returncode == status, done.stdout + done.stderr
    assert part in done.stdout + done.stderr


def test_a_chapter_runs_with_ones_own_parameters(executed):
    """As the README has it, the parameters that it does not name reduced, so that it takes seconds."""
    mine, _ = executed(smoke.GREEDY)
    (injected,) = [c for c in mine["cells"] if "injected-parameters" in c["metadata"].get("tags", ())]
    assert smoke.GIVEN
    for name, value in smoke.GIVEN.items():
        assert f"{name} = {value}\n" in injected["source"] + "\n"


@pytest.mark.parametrize(("command", "status"), [("make status", 0), ("make serve", 2)])
def test_before_anything_is_installed_it_says_what_to_do(clone, command, status):
    done = typed(clone, f"{command} VENV=elsewhere")
    assert done.returncode == status, done.stderr
    assert "make book makes everything" in done.stdout and not (clone / "elsewhere").exists()


def test_lab_installs_jupyterlab_and_opens_it(clone):
    done = typed(clone, "make -n lab")
    assert done.returncode == 0, done.stderr
    assert "-r requirements-lab.txt" in done.stdout and done.stdout.splitlines()[-1].endswith("-m jupyterlab")


def test_the_built_book_is_served(clone):
    (clone / "_build" / "html").mkdir(parents=True, exist_ok=True)
    (clone / "_build" / "html" / "index.html").write_text("<title>the book</title>")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = {**environment(clone), "PORT": str(port), "PYTHON": sys.executable}
    server = subprocess.Popen(
        ["make", "serve"], cwd=clone, env=place, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    assert answer.read() == b"<title>the book</title>"
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end
                time.sleep(0.05)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
