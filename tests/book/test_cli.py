"""The command line: what cannot be is refused, before a lock is waited for, and help comes at once."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import toy_book

from book import build, cli, contents, run
from lib.ensembles import store

COMMANDS = "data build run sweep status record gate pdf new copy defaults serve".split()


@pytest.fixture
def project(tmp_path):
    """A toy project of two chapters, in which nothing has been run."""
    second = toy_book.chapter(name="second")
    return toy_book.project(tmp_path / "book", toy=toy_book.chapter(), second=second)


@pytest.fixture
def ran(monkeypatch):
    """What would have been run: notebook, place and parameters."""
    calls = []
    monkeypatch.setattr(
        run, "run", lambda notebook, out, given, *_: calls.append((notebook.stem, out, given))
    )
    return calls


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command, option, capsys):
    assert cli.main([*command.split(), option]) == 0
    assert f"Usage: sgd-book {command}" in capsys.readouterr().out


def test_the_commands_are_those_and_the_script_is_this_one():
    assert set(cli.cli.commands) == set(COMMANDS)
    pyproject = tomllib.loads((toy_book.PROJECT / "pyproject.toml").read_text("utf-8"))
    assert pyproject["project"]["scripts"] == {"sgd-book": "book.cli:main"}


HEAVY = ["papermill", "nbformat", "matplotlib", "pandas", "tensorflow", "sphinx.application"]
LIGHT = ["--help", "run --help", "run toy --preview -p size 3", "run greedy -p size 3", "serve", "status"]
DRY = "sweep toy --grid size=1,2 --dry-run"
IMPORTS = f"""import pathlib, sys
from book import cli
for command, heavy in [*((command, {HEAVY}) for command in {LIGHT}), ({DRY!r}, ["tensorflow"])]:
    cli.main(command.split(), pathlib.Path(sys.argv[1]))
    if found := [name for name in heavy if name in sys.modules]:
        sys.exit(f"{{command}} imports {{', '.join(found)}}")"""


def test_help_and_refusals_import_nothing_heavy_and_a_dry_run_no_tensorflow(project):
    """All in one process, those that need least first."""
    command = [sys.executable, "-c", IMPORTS, str(project)]
    done = subprocess.run(command, cwd=toy_book.PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and "2 to run of 2" in done.stdout, done.stderr


# ---- refusals


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run toy --preview -p size 3", "--preview cannot stand with -p"),
        ("run toy --again -p size 3", "--again cannot stand with -p"),
        ("run toy --out x.ipynb", "--out wants parameters: -p NAME VALUE"),
        ("run toy -p size 3 --out x.txt", "--out: got 'x.txt', wanted a file that ends in .ipynb"),
        ("run toy -p size 3 --out CHAPTER", "is among the chapters"),
        ("copy toy CHAPTER.ipynb", "is among the chapters"),
        ("run toy -p size 3 -p size 4", "-p size is given more than once"),
        ("run -p size 3", "-p wants one chapter: toy, second"),
        ("run toy second -p size 3", "-p wants one chapter: toy, second"),
        ("run greedy -p size 3", "no chapter greedy; there are toy, second"),
        ("run toi", "no chapter toi; there are toy, second"),
        ("run toy -p sise 3", "sise: no such parameter"),
        ("run toy -p size three", "size"),
        ("build --scale preview", "No such option"),
        ("bild", "No such command 'bild'"),
        ("serve --port 99999", "99999"),
    ],
)
def test_what_cannot_be_is_refused_before_a_lock_is_waited_for(
    project, ran, monkeypatch, capsys, words, said
):
    monkeypatch.setattr(run, "lock", lambda *_: pytest.fail("a lock was waited for"))
    chapter = str(project / "chapters" / "toy.ipynb")
    assert cli.main(words.replace("CHAPTER", chapter).split(), project) in (1, 2)
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not ran and not (project / "_build").exists()


@pytest.mark.parametrize("command", ["build", "run", "run toy -p size 3", "pdf"])
def test_another_library_before_ours_is_told(project, ran, monkeypatch, capsys, command):
    other = project.parent / "other"
    (other / "lib").mkdir(parents=True)  # without a module in it, ours is found after all
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project), str(other)]))
    contents.check_library(project)
    (other / "lib" / "__init__.py").touch()
    assert cli.main(command.split(), project) == 1
    error = capsys.readouterr().err
    assert str(other / "lib") in error and "PYTHONPATH" in error and not ran


@pytest.mark.parametrize("command", ["build", "run", "run toy -p size 3", "pdf"])
def test_data_that_is_not_there_is_told_before_anything_runs(project, ran, monkeypatch, capsys, command):
    monkeypatch.setenv("SGD_BOOK_MNIST", str(project / "nowhere"))
    assert cli.main(command.split(), project) == 1
    error = capsys.readouterr().err
    assert "sgd-book data fetch" in error and error.count("\n") == 1 and not ran


def test_in_another_checkout_the_command_of_this_one_is_refused(tmp_path, monkeypatch, capsys):
    other = tmp_path / "other"
    for name in ("_toc.yml", "book/cli.py", "chapters/toy.ipynb"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).touch()
    monkeypatch.chdir(other / "chapters")
    assert cli.main(["status"]) == 1
    error = capsys.readouterr().err
    assert str(contents.ROOT) in error and str(other) in error and "python -m book" in error
    assert cli.main(["status"], other) == 0, "it is that checkout's own command"
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "where"]) == 0, "this is no checkout"


def test_the_same_library_by_another_way_is_ours(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(toy_book.PROJECT), ""]))
    contents.check_library(project)


@pytest.mark.parametrize(
    "command", ["build", "build --preview", "run", "run toy -p size 3", "record", "gate"]
)
def test_a_place_that_cannot_be_written_is_told_with_what_to_do_before_anything_runs(
    project, ran, monkeypatch, capsys, command
):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cli.main(command.split(), project) == 1
    said = "".join(capsys.readouterr())
    assert "cannot be written" in said and store.REMEDY in said and not ran
    assert not (project / "_build").exists()


def test_a_chapter_runs_from_a_place_that_cannot_be_written_to_a_file_elsewhere(
    project, ran, tmp_path, monkeypatch
):
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    monkeypatch.setattr(os, "access", lambda path, _: not Path(path).is_relative_to(project))
    assert cli.main(["run", "toy", "-p", "size", "3", "--out", str(tmp_path / "x.ipynb")], project) == 0
    assert ran == [("toy", tmp_path / "x.ipynb", {"size": "3"})]


def test_status_says_that_a_place_cannot_be_written(project, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *_: False)
    said = []
    assert build.status(project, said.append) == 0
    assert store.REMEDY in said[-1]
    assert cli.main(["status"], project) == 1
    assert store.REMEDY in capsys.readouterr().err


# ---- runs of one's own


def test_each_set_of_parameters_has_a_copy_of_its_own(project, ran, capsys):
    for size in ("9", "8", "9"):
        assert cli.main(["run", "toy", "-p", "size", size], project) == 0
    places = [out for _, out, _ in ran]
    assert places[0] == places[2] != places[1]
    assert {place.parent for place in places} == {project / "_build" / "executed" / "custom"}
    assert all(re.fullmatch(r"toy-[0-9a-f]{8}\.ipynb", place.name) for place in places)
    assert f"executed copy: {os.path.relpath(places[0])}" in capsys.readouterr().out


def test_a_file_in_the_folder_of_who_asks_is_found_from_the_project(project, ran, monkeypatch):
    toy = project / "chapters" / "toy.ipynb"
    toy.write_text(toy.read_text().replace("[text]", "[name or path]"))
    (project.parent / "my.npz").touch()
    (project.parent / "toy").touch()
    monkeypatch.chdir(project.parent)
    for name in ("my.npz", "no.npz", "toy"):
        assert cli.main(["run", "toy", "-p", "label", name], project) == 0
    assert [given["label"] for *_, given in ran] == [str(project.parent / "my.npz"), "no.npz", "toy"]


def test_a_run_says_first_how_long_it_takes(project, ran, capsys):
    (project / "results").mkdir()
    cells = {"parameters": 1.0, "cell-0": 60.0, "cell-1": 30.0}
    timings = {"full": {"toy": cells, "second": cells}, "preview": {"toy": {"gone": 5.0}}}
    (project / "results" / "timings.json").write_text(json.dumps(timings))
    for words, said in {
        "run": "2 to run, about 3:02 by",
        "run toy": "1 to run, about 1:31 by",
        "run toy -p size 3": "at its own parameters it takes about 1:31",
        "run toy --preview": "1 to run, about 0:05 by",
    }.items():
        assert cli.main(words.split(), project) == 0
        assert said in capsys.readouterr().out, words
    assert cli.main(["run", "--preview"], project) == 0
    assert "about" not in capsys.readouterr().out, "one chapter's time is not known"


def test_an_interruption_is_told_in_one_line(project, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build", interrupted)
    assert cli.main(["build"], project) == 130
    assert capsys.readouterr().out == f"{cli.INTERRUPTED}\n"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (("RLIMIT_NOFILE", 24), "open files are limited to 24, wanted 256 at least: ulimit -n 256"),
        (("RLIMIT_AS", 420_000 << 10), "bytes of memory are limited to 430080000, wanted 2147483648"),
    ],
)
def test_a_process_that_may_have_too_little_is_told_so_at_once(limit, said):
    name, value = limit
    command = f"import resource as r; r.setrlimit(r.{name}, ({value}, {value})); from book import cli; "
    command += "raise SystemExit(cli.main(['run']))"
    command = [sys.executable, "-c", command]
    done = subprocess.run(command, cwd=toy_book.PROJECT, capture_output=True, timeout=60)
    assert done.returncode == 1 and done.stderr.decode().startswith(said) and done.stderr.count(b"\n") == 1


def test_to_be_terminated_is_to_be_interrupted_with_a_status_of_its_own(project, monkeypatch, capsys):
    monkeypatch.setattr(build, "build", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.main(["build"], project)
    assert ended.value.code == 143 and capsys.readouterr().out == f"{cli.INTERRUPTED}\n"
    assert signal.getsignal(signal.SIGTERM) == before


# ---- before there is anything


def test_status_and_serve_say_what_to_do_when_there_is_nothing(project, capsys):
    assert cli.main(["status"], project) == 0
    assert capsys.readouterr().out == f"{cli.NOTHING}\n"
    assert f"NOTHING = {cli.NOTHING}\n" in (toy_book.PROJECT / "Makefile").read_text("utf-8")
    assert cli.main(["serve", "--port", "0"], project) == 1
    assert "make book, or make preview" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(project, capsys):
    import socket

    place = contents.html_folder(project, "full")
    place.mkdir(parents=True)
    (place / "index.html").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["serve", "--port", port], project) == 1
    assert f"--port {port}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("there", "words", "shown"),
    [
        (["full", "preview"], "", "full"),
        (["preview"], "", "preview"),
        (["full", "preview"], "FOLDER", "preview"),
    ],
)
def test_the_book_is_served_or_its_preview(project, monkeypatch, capsys, there, words, shown):
    import http.server

    served = []
    monkeypatch.setattr(
        http.server.ThreadingHTTPServer,
        "serve_forever",
        lambda self: served.append(Path(self.RequestHandlerClass.keywords["directory"])),
    )
    for scale in there:
        folder = contents.html_folder(project, scale)
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(scale)
    folder = words.replace("FOLDER", str(contents.html_folder(project, "preview"))).split()
    assert cli.main(["serve", "--port", "0", *folder], project) == 0
    assert served == [contents.html_folder(project, shown)]
    said = capsys.readouterr().out
    assert "http://localhost:" in said and ("only a preview is built" in said) == (there == ["preview"])
