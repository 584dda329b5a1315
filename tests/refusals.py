"""Runs chapters' cells until one raises, for many sets of parameters in one process.

It reads from standard input, as JSON, lists of papermill's options by chapter, and writes what came of each.
Papermill itself reads the options and injects the cell; only its kernel is left out, which takes seconds to
start.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from papermill.cli import papermill


def refusal(chapter: str, options: list[str], folder: str) -> dict:
    """The cell of a chapter that raises at these options, and its error; both None when none does."""
    prepared = Path(folder, "prepared.ipynb")
    command = [chapter, str(prepared), *options, "-k", "python3", "--prepare-only"]
    papermill(command, standalone_mode=False)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    for cell in nbformat.read(prepared, as_version=4).cells:
        if cell.cell_type == "code":
            done = shell.run_cell(cell.source, store_history=True)
            error = done.error_before_exec or done.error_in_exec
            if error is not None:
                return {"cell": cell.id, "error": f"{type(error).__name__}: {error}"}
    return {"cell": None, "error": None}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found = {
            chapter: [refusal(chapter, options, folder) for options in given]
            for chapter, given in json.load(sys.stdin).items()
        }
    json.dump(found, sys.stdout)
