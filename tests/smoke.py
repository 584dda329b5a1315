"""The chapters at their smallest scale: each is run once, and all tests that need a run look at that one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

from book import gate, run

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
BROKEN, GREEDY, DRIFT, PLATEAU, OWN = (
    ROOT / "chapters" / f"{name}.ipynb"
    for name in (
        "broken_net_recovery", "greedy_layerwise_training", "long_run_sgd_drift", "plateau_after_lr_jump",
        "your_own_network",
    )
)  # fmt: skip
# What the README tells a reader to type for a run of one's own, and the parameters that it names.
(TYPED,) = [
    block
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    if "mine.ipynb" in block
]
GIVEN = dict(re.findall(r"-p (\w+) (\S+)", TYPED))


def parameters(chapter: Path) -> dict:
    """Parameters of the run of a chapter; those that the README gives to its chapter are texts."""
    smoke = run.reduced(chapter, "smoke")
    return smoke if chapter != GREEDY else smoke | {"steps": 200} | GIVEN  # at 8 steps no net learns anything


def execute(chapter: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a chapter in an empty folder, and its chunks where SGD_BOOK_CHUNKS says.

    The README's chapter is run as the README has it, what it does not name reduced, by plain papermill, where
    nothing of the project is but the notebook. Its progress goes to a file: a bar in the notebook is a fault
    to the gate. The others are run as the book runs them. All train in their kernel (`conftest`): of several
    workers each compiles everything.
    """
    if chapter != GREEDY:
        return run.run(chapter, folder / "mine.ipynb", parameters(chapter))
    (folder / "chapters").mkdir()
    (folder / "chapters" / chapter.name).write_bytes(chapter.read_bytes())
    reduced = {name: value for name, value in parameters(GREEDY).items() if name not in GIVEN}
    (folder / "smoke.json").write_text(json.dumps(reduced))
    if Path(sys.prefix, "bin", "activate").is_file():
        (folder / ".venv").symlink_to(sys.prefix)
    else:
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "activate").touch()
    typed = TYPED.replace("mine.ipynb", "mine.ipynb -f smoke.json --no-progress-bar")
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    place = {"PATH": paths, "SGD_BOOK_PROGRESS": str(folder / "progress")}
    done = subprocess.run(
        ["bash", "-e", "-c", typed], cwd=folder, env={**os.environ, **place},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(folder / "mine.ipynb", as_version=4)
    assert gate.notebook_faults(notebook, [ROOT, folder]) == []
    return notebook


def shown(notebook: nbformat.NotebookNode) -> list[dict]:
    """Outputs of a run: claims, numbers, figures and their data; not the stamp, which tells when it was.

    Nor the names that pandas draws at random for its tables, and where in memory they were.
    """
    text = re.sub(r"T_[0-9a-f]{5}|Styler at 0x[0-9a-f]+", "", nbformat.writes(notebook))
    outputs = (output.get("data", {}) for _, output in gate.outputs(nbformat.reads(text, as_version=4)))
    return [data for data in outputs if data and not any("stamp" in mime for mime in data)]
