"""Runs chapters: strict parameters, one kernel a chapter, results kept by what they were made from.

An executed copy is kept at ``_build/executed/<scale>/<chapter>.ipynb`` with a content key, and a seal over it
and all that the copy holds. While the key is the one that the chapter would get now, and the seal fits, the
copy is current and is not run again. A copy appears there only whole, and only after the gate has passed it;
what failed is kept beside it as ``<chapter>.failed.ipynb``.
"""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.font_manager  # noqa: F401  builds its cache here; in a chapter that would print to stderr
import nbformat
import papermill
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from book import contents, gate, kernels
from book.progress import Progress
from lib.data import CONTENT_SHA256
from lib.ensembles import machine, sources, store
from lib.page import params

SCALES = ("full", "preview", "smoke")


class RunError(RuntimeError):
    """A chapter did not run, or did not pass the gate; the message says why and what was kept."""


class Copy(NamedTuple):
    """Where a chapter's executed copy is and what it must be made from.

    Attributes:
        path: of the executed copy.
        key: content key it has when it is current.
        given: parameters that differ from the notebook's defaults, checked.
    """

    path: Path
    key: str
    given: dict[str, Any]


# ---- content key -----------------------------------------------------------------------------------------


def content_keys(
    notebook: Mapping[str, Any], runs: Iterable[Mapping[str, Any]], root: Path, anywhere: bool = False
) -> list[str]:
    """Hashes of all that executed copies of a notebook depend on, for each run: values of all parameters.

    They cover the cells (text, type, tags, ids, but no outputs), what the modules do that they reach (no
    comments or docstrings), all parameters, the data's content, and `machine.environment` with the versions
    of all packages that the requirements pin. ``anywhere`` leaves out the processor, of which the machines of
    a cluster may have others.

    Returns:
        64 hexadecimal digits for each run.
    """
    cells = [
        (c.get("id"), c["cell_type"], "".join(c["source"]), sorted(c["metadata"].get("tags", ())))
        for c in notebook["cells"]
    ]
    plain = TransformerManager().transform_cell  # IPython's own syntax, such as magics, as Python
    reached = sources.modules([plain(text) for _, kind, text, _ in cells if kind == "code"], root, "", root)
    files = {name: sources.meaning(path.read_bytes()) for name, path in reached.items()}
    made_by = machine.environment(machine.pinned(root), anywhere)
    return [store.digest([cells, files, dict(values), CONTENT_SHA256, made_by]) for values in runs]


def load(notebook: Path) -> nbformat.NotebookNode:
    """A notebook from its file; ValueError when it is none."""
    try:
        return nbformat.reads(Path(notebook).read_text("utf-8"), as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, KeyError, AttributeError) as error:
        raise ValueError(f"{Path(notebook).name} is not a notebook: {error}") from None


def copy_path(notebook: Path, root: Path, scale: str) -> Path:
    """Where a chapter's executed copy at a scale is kept."""
    return root / "_build" / "executed" / scale / notebook.name


def reduced(notebook: Path, scale: str) -> dict[str, Any]:
    """Parameters of a chapter at a scale, from the file that plain papermill takes as well.

    The file is ``parameters/<chapter>/<scale>.yaml`` beside the chapter; ``full``, the defaults, has none.

    Raises:
        ValueError: for another scale, or a file that is not there or holds no parameters.
    """
    if scale not in SCALES:
        raise ValueError(f"scale: got {scale!r}, wanted one of {', '.join(SCALES)}")
    if scale == "full":
        return {}
    path = Path(notebook).parent / "parameters" / notebook.stem / f"{scale}.yaml"
    try:
        given = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{notebook.name} at scale {scale}: {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{path.name} of {notebook.name}: got {given!r}, wanted parameters by name")
    return given


def expected_copy(notebook: Path, root: Path, scale: str) -> Copy:
    """Where a chapter's executed copy at a scale belongs, and its key now; see `reduced` for the parameters.

    Raises:
        ValueError: for another scale, one without a file of parameters, or refused parameters.
    """
    content, given = load(notebook), reduced(notebook, scale)
    values = params.check(params.schema(notebook), given)
    path = copy_path(notebook, root, scale)
    return Copy(path, content_keys(content, [values], root)[0], {name: values[name] for name in given})


def is_current(copy: Copy, root: Path) -> bool:
    """Whether the executed copy is there with its key, as it was when it had run, and passes the gate.

    One that was damaged or edited, or that a stricter gate refuses, is as good as none.
    """
    try:
        return not gate.notebook_faults(load(copy.path), [root], copy.key)
    except (OSError, ValueError):
        return False


# ---- running ---------------------------------------------------------------------------------------------


def from_here(notebook: Path, given: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Parameters as given, those that name a file here by its whole path: the kernel stands in ``root``.

    Only a parameter whose unit says so may be a path; what has no ending is a name.
    """
    paths = {param.name for param in params.schema(notebook) if "path" in param.unit.split()}
    if Path.cwd() == Path(root).resolve():
        paths.clear()
    files = {name: str(given[name]) for name in paths & {*given} if Path(str(given[name])).suffix}
    return {**given, **{name: os.path.abspath(file) for name, file in files.items() if os.path.isfile(file)}}


def timed(cell: Mapping[str, Any]) -> str:
    """Id under which a cell's duration is recorded; empty for cells that take no time (text, injected)."""
    own = cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"].get("tags", ())
    return cell.get("id", "") if own else ""


def run(
    notebook: Path,
    out: Path,
    parameters: Mapping[str, Any],
    progress: Progress | None = None,
    root: Path | None = None,
) -> nbformat.NotebookNode:
    """Run one chapter in a fresh kernel and keep the executed copy if it passes the gate.

    Args:
        notebook: the chapter; it is not changed.
        out: where the executed copy goes. It appears, and replaces an older one, whole or not at all.
        parameters: values by name for some of the chapter's parameters; the others have their defaults.
        progress: shows the run.
        root: the project's folder, where the kernel starts; this project's if None.

    Returns:
        The executed notebook.

    Raises:
        ValueError: for refused parameters, before any kernel starts.
        RunError: when the chapter fails or does not pass the gate, or the copy cannot be written; what was
            executed is then kept at ``<name>.failed.ipynb`` beside ``out``.
    """
    notebook, out = Path(notebook).resolve(), Path(out).resolve()
    root = Path(root or contents.ROOT).resolve()
    values, loaded = params.check(params.schema(notebook), parameters), load(notebook)
    (key,) = content_keys(loaded, [values], root)
    temporary = out.with_name(f".{out.stem}.running.ipynb")
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    chunks = temporary.with_suffix(".progress")
    shown = progress or Progress(out.stem)
    shown.cells([timed(cell) for cell in loaded.cells], chunks)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for older in (chunks, failed):
            older.unlink(missing_ok=True)
        with shown:
            executed = papermill.execute_notebook(
                str(notebook),
                str(temporary),
                {name: values[name] for name in parameters},
                engine_name=kernels.ENGINE,
                kernel_name="python3",
                progress_bar=False,
                cwd=str(root),
                kernel_manager_class=kernels.manager(chunks, root),
                shutdown_kernel="immediate",  # all is said; TensorFlow would end slowly
                extra_arguments=["--log-level=CRITICAL"],  # when it is interrupted it complains at length
                on_cell_start=lambda cell, cell_index: shown.cell(timed(cell)),
            )
            faults = gate.notebook_faults(executed, [root])
            if content_keys(load(notebook), [values], root) != [key]:
                faults += ["its text, the library or the requirements changed while it ran; run it again"]
            if faults:
                raise RunError("\n".join(faults))
        for private in ("input_path", "output_path"):
            executed.metadata.papermill.pop(private, None)
        gate.seal(executed, {"key": key})
        store.put(out, nbformat.writes(executed).encode())
        return executed
    except Exception as error:
        kept = ""
        if not isinstance(error, OSError):  # then nothing can be written, or what was is cut short
            with contextlib.suppress(OSError):
                os.replace(temporary, failed)
                kept = f"\nwhat was executed is kept at {_relative(failed, root)}"
        raise RunError(f"{notebook.stem}: {reason(error, _relative(out.parent, root))}{kept}") from error
    finally:
        temporary.unlink(missing_ok=True)
        chunks.unlink(missing_ok=True)


def reason(error: BaseException, folder: str = "its folder") -> str:
    """Why a chapter did not run, in words: which cell raised what, or that the folder cannot be written."""
    if isinstance(error, RunError):
        return reason(error.__cause__, folder) if error.__cause__ else str(error)
    if isinstance(error, papermill.PapermillExecutionError):
        return f"cell {error.cell_index} raised {error.ename}: {error.evalue}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"cannot write to {folder}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


@contextlib.contextmanager
def lock(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the project's build tree; while another process holds it, say so and wait.

    The lock ends with the process that holds it, however that ends.

    Raises:
        PermissionError: when the build tree cannot be written, and what to do then.
    """
    path = root / "_build" / "lock"
    store.check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown process"
            say(f"waiting for another build in this checkout to end: {holder}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        note = f"process {os.getpid()}, {' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}\n"
        with contextlib.suppress(OSError):  # on a full disk the lock holds without the note
            os.write(stream.fileno(), note.encode())
        for left in path.parent.glob("executed/*/.*"):  # of runs that were killed
            left.unlink(missing_ok=True)
        try:
            yield
        finally:
            stream.truncate(0)
