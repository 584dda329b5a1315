"""Runs chapters' cells in one process, for many sets of parameters: a kernel takes seconds to start.

It reads from standard input, as JSON, a list of runs, each a chapter and papermill's options, and writes what
came of each. Papermill itself reads the options and injects the cell; only its kernel is left out.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from papermill.cli import papermill

from book import gate

ROOT = Path(__file__).resolve().parents[1]


def outcome(chapter: str, options: list[str], folder: Path) -> dict:
    """What came of a chapter at these options.

    Returns:
        The error that a cell raised, in one line; the faults that the gate finds where none did; the verdicts
        of the claims; the number of chunks that were kept; the seconds of processor time.
    """
    folder.mkdir()
    os.environ |= {"SGD_BOOK_CHUNKS": str(folder / "chunks"), "SGD_BOOK_PROGRESS": str(folder / "progress")}
    began, error, prepared = time.process_time(), None, folder / "prepared.ipynb"
    command = [chapter, str(prepared), *options, "-k", "python3", "--prepare-only"]
    papermill(command, standalone_mode=False)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    notebook, shown_as = nbformat.read(prepared, as_version=4), {}
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        with capture_output() as shown:
            done = shell.run_cell(cell.source, store_history=True)
        cell.execution_count, cell.metadata["papermill"] = number, {"status": "completed"}
        cell.outputs = []
        for output in shown.outputs:
            name, data = (output.transient or {}).get("display_id"), dict(output.data)
            if output.update:
                shown_as[name].data = data
                continue
            new = nbformat.v4.new_output("display_data", data=data, metadata=output.metadata or {})
            cell.outputs.append(new)
            shown_as[name] = new
        if done.result is not None:
            data, metadata = shell.display_formatter.format(done.result)
            cell.outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))
        if shown.stderr:
            cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text=shown.stderr))
        if raised := done.error_before_exec or done.error_in_exec:
            error = f"{type(raised).__name__}: {raised}"
            break
    return {
        "error": error,
        "faults": [] if error else gate.notebook_faults(notebook, [ROOT]),
        "verdicts": [c["verdict"] for r in gate.records(notebook, gate.CLAIMS_MIME) for c in r["claims"]],
        "chunks": len(list(folder.glob("chunks/*.chunk"))),
        "seconds": time.process_time() - began,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        runs = enumerate(json.load(sys.stdin))
        found = [outcome(chapter, options, Path(place, str(number))) for number, (chapter, options) in runs]
    json.dump(found, sys.stdout)
