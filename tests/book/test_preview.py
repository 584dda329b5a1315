"""A preview never takes the place of the book: not in the gate, not in the build, not in the workflow."""

import os
import shutil
import subprocess
import sys

import pytest
import toy_book
import yaml

from book import build, cli, gate

WORKFLOW = toy_book.PROJECT / ".github" / "workflows" / "publish.yml"


@pytest.fixture
def swapped(built, tmp_path):
    """The same book with its preview in the place of its pages."""
    root = tmp_path / "book"
    shutil.copytree(built, root, symlinks=True)
    shutil.rmtree(root / "_build" / "html")
    shutil.copytree(root / "_build" / "preview" / "html", root / "_build" / "html")
    return root


def test_the_gate_refuses_every_page_of_a_preview(swapped, capsys):
    html = swapped / "_build" / "html"
    marked = [fault for fault in gate.html_faults(html, preview=False) if "marked as a preview" in fault]
    pages = {
        name
        for name, content in toy_book.files(html).items()
        if name.endswith(".html") and name[0] != "_" and b'http-equiv="refresh"' not in content.lower()
    }
    assert {fault.partition(":")[0] for fault in marked} == pages and len(pages) > 3
    assert cli.main(["gate"], swapped) == 1
    assert "is marked as a preview" in capsys.readouterr().out


def test_the_gate_refuses_one_page_of_a_preview_among_the_others(built, tmp_path):
    html = tmp_path / "html"
    shutil.copytree(built / "_build" / "html", html)
    assert gate.html_faults(html, preview=False) == []
    shutil.copy(
        built / "_build" / "preview" / "html" / "chapters" / "toy.html", html / "chapters" / "toy.html"
    )
    assert gate.html_faults(html, preview=False) == ["chapters/toy.html: is marked as a preview"]


def test_the_gate_refuses_full_pages_as_a_preview(built):
    assert any(
        "is not marked" in fault for fault in gate.html_faults(built / "_build" / "html", preview=True)
    )


def test_a_scale_in_the_environment_does_not_change_what_a_build_builds(built, tmp_path, monkeypatch):
    root = tmp_path / "book"
    shutil.copytree(built, root, symlinks=True)
    monkeypatch.setenv(build.SCALE, "preview")
    assert cli.main(["build"], root) == 0
    assert gate.html_faults(root / "_build" / "html", preview=False) == []


# ---- the workflow ----------------------------------------------------------------------------------------


def test_the_workflow_takes_the_newest_state_and_never_a_tag():
    steps = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["book"]["steps"]
    (ref,) = [step["with"].get("ref", "") for step in steps if "actions/checkout" in step.get("uses", "")]
    main = "github.event.repository.default_branch"
    assert ref == f"${{{{ github.event_name == 'release' && {main} || github.ref }}}}"


def check(root, make) -> int:
    """Exit status of the workflow's last step before it deploys, with a stand-in for make."""
    steps = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["book"]["steps"]
    (text,) = [step["run"] for step in steps if "make gate" in step.get("run", "")]
    uploads = [k for k, step in enumerate(steps) if "upload-pages-artifact" in step.get("uses", "")]
    assert [step.get("run") for step in steps].index(text) == uploads[0] - 1, "something runs after the check"
    tools = root.parent / "tools"
    tools.mkdir()
    (tools / "make").write_text(f"#!/bin/sh\n{make}\n")
    (tools / "make").chmod(0o755)
    place = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(toy_book.PROJECT)}
    done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=root, env={**os.environ, **place}, capture_output=True
    )
    return done.returncode


BOOK = "import sys, pathlib; from book import cli; sys.exit(cli.main(sys.argv[1:], pathlib.Path('.')))"
GATE = f'exec "{sys.executable}" -c "{BOOK}" "$@"'


def test_the_workflow_lets_a_full_book_pass(built, tmp_path):
    shutil.copytree(built, tmp_path / "book", symlinks=True)
    assert check(tmp_path / "book", GATE) == 0


@pytest.mark.parametrize("make", [GATE, "exit 0"], ids=["gate", "gate that lets all pass"])
def test_the_workflow_refuses_a_preview(swapped, make):
    assert check(swapped, make) != 0


@pytest.mark.parametrize("lost", ["index.html", "scoreboard.json"])
def test_the_workflow_refuses_a_book_that_is_not_whole(built, tmp_path, lost):
    shutil.copytree(built, tmp_path / "book", symlinks=True)
    (tmp_path / "book" / "_build" / "html" / lost).unlink()
    assert check(tmp_path / "book", GATE) != 0


def test_the_workflow_refuses_one_page_of_a_preview(built, tmp_path):
    shutil.copytree(built, tmp_path / "book", symlinks=True)
    pages = tmp_path / "book" / "_build"
    shutil.copy(
        pages / "preview" / "html" / "chapters" / "toy.html", pages / "html" / "chapters" / "toy.html"
    )
    assert check(tmp_path / "book", "exit 0") != 0
