"""A preview never takes the place of the book: not in the gate, not in the build, not in the workflow."""

import os
import shutil
import subprocess

import pytest
import toy_book
import yaml

from book import build, cli, gate

WORKFLOW = toy_book.PROJECT / ".github" / "workflows" / "publish.yml"


@pytest.fixture
def copy(built, tmp_path):
    """The same book, to be changed."""
    return shutil.copytree(built, tmp_path / "book", symlinks=True)


def swap(root, name="") -> None:
    """Put the preview, or a page of it, in the place of the book."""
    html, preview = root / "_build" / "html", root / "_build" / "preview" / "html"
    if name:
        shutil.copy(preview / name, html / name)
    else:
        shutil.rmtree(html)
        shutil.copytree(preview, html)


def test_the_gate_refuses_every_page_of_a_preview_and_one_among_the_others(copy, capsys):
    html = copy / "_build" / "html"
    assert gate.html_faults(html, preview=False) == []
    swap(copy, "chapters/toy.html")
    assert gate.html_faults(html, preview=False) == ["chapters/toy.html: is marked as a preview"]
    swap(copy)
    marked = [fault for fault in gate.html_faults(html, preview=False) if "marked as a preview" in fault]
    pages = {
        name
        for name, content in toy_book.files(html).items()
        if name.endswith(".html") and name[0] != "_" and b'http-equiv="refresh"' not in content.lower()
    }
    assert {fault.partition(":")[0] for fault in marked} == pages and len(pages) > 3
    assert cli.main(["gate"], copy) == 1
    assert "is marked as a preview" in capsys.readouterr().out


def test_the_gate_refuses_full_pages_as_a_preview(built):
    faults = gate.html_faults(built / "_build" / "html", preview=True)
    assert any("is not marked" in fault for fault in faults)


def test_a_scale_in_the_environment_does_not_change_what_a_build_builds(copy, monkeypatch):
    monkeypatch.setenv(build.SCALE, "preview")
    assert cli.main(["build"], copy) == 0
    assert gate.html_faults(copy / "_build" / "html", preview=False) == []


# ---- the workflow ----------------------------------------------------------------------------------------


STEPS = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["book"]["steps"]


def test_the_workflow_takes_the_newest_state_and_never_a_tag():
    (ref,) = [step["with"].get("ref", "") for step in STEPS if "actions/checkout" in step.get("uses", "")]
    main = "github.event.repository.default_branch"
    assert ref == f"${{{{ github.event_name == 'release' && {main} || github.ref }}}}"


def lose(root) -> None:
    (root / "_build" / "html" / "scoreboard.json").unlink()


@pytest.mark.parametrize(
    ("change", "gate_status", "passes"),
    [
        (lambda root: None, 0, True),
        (lambda root: None, 1, False),  # as the gate ends for a preview, and for a book without pages
        (swap, 0, False),
        (lambda root: swap(root, "chapters/toy.html"), 0, False),
        (lose, 0, False),
    ],
    ids=["whole", "the gate refuses", "a preview", "a page of a preview", "no scoreboard"],
)
def test_the_workflow_lets_a_full_book_pass_and_nothing_else(copy, tmp_path, change, gate_status, passes):
    """Its last step before it deploys, with a stand-in for make."""
    (text,) = [step["run"] for step in STEPS if "make gate" in step.get("run", "")]
    uploads = [k for k, step in enumerate(STEPS) if "upload-pages-artifact" in step.get("uses", "")]
    assert [step.get("run") for step in STEPS].index(text) == uploads[0] - 1, "something runs after the check"
    change(copy)
    make = tmp_path / "tools" / "make"
    make.parent.mkdir()
    make.write_text(f"#!/bin/sh\nexit {gate_status}\n")
    make.chmod(0o755)
    place = {**os.environ, "PATH": f"{make.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-e", "-c", text], cwd=copy, env=place, capture_output=True)
    assert (done.returncode == 0) == passes
