"""Builds the book: run the chapters, gate them, compare verdicts, build the pages, gate those, publish.

Chapters that are current are not run again, and one that fails does not keep the others from running. At
full scale they run one after the other, each on all cores; at a reduced one side by side, each on one core,
since starting and compiling, most of the work there, is then done once and not in every worker. The new book
takes the place of the last good one only when everything has passed.
"""

import contextlib
import errno
import functools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from click import echo as say

from book import gate, latex, record, run, standing
from book.contents import address, chapters, html_folder, pages
from book.progress import Progress, clock, expected
from lib.ensembles import machine, places, store

INSIDE = "SGD_BOOK_INSIDE"  # set for the page builder: the chapters are there, and the lock is held
SCALE = "SGD_BOOK_SCALE"
Say = Callable[[str], None]
# The page builder. Its input ends with whoever started it, and it does, too: it holds no lock of its own.
_PAGES = """
import gc, os, threading
gc.set_threshold(50_000, 20, 50)  # looking for garbage takes a third of the time otherwise
threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()
from jupyter_book.cli.main import main
main()
"""
_PATIENCE = 10.0  # seconds that a page builder whose build was killed has to end
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def refuse(faults: Sequence[str]) -> None:
    """Raises a RunError with the faults, when there are any."""
    if faults:
        raise run.RunError("\n".join(faults))


def executed(root: Path, scale: str) -> list[Any]:
    """Executed copies of all chapters.

    Raises:
        RunError: naming every chapter whose copy is missing, not current, or does not pass the gate.
    """
    notebooks, faults = [], []
    for chapter in chapters(root):
        try:
            copy = run.expected_copy(chapter.path, root, scale)
            notebook = run.load(copy.path)
            found = gate.notebook_faults(notebook, [root], copy.key)
            names = {stated["chapter"] for stated in record.claims_records([notebook])} - {chapter.name}
            found += [f"its claims are those of {name!r}, by the name of its ledger" for name in names]
        except FileNotFoundError:
            found = [f"has not been run at scale {scale}"]
        except ValueError as error:
            found = [str(error)]
        faults += [f"{chapter.name}: {fault}" for fault in found]
        if not found:
            notebooks.append(notebook)
    refuse(faults)
    return notebooks


def run_chapters(
    root: Path, scale: str, only: Sequence[str] = (), again: bool = False, say: Say = say
) -> list[str]:
    """Run chapters, all if none is named, whose executed copies are not current, or also others ``again``.

    Returns:
        What failed, one text for each chapter that did.
    """
    wanted, names = chapters(root, only), [chapter.name for chapter in chapters(root)]
    recorded = record.read(root / record.TIMINGS)[0].get(scale, {})
    faults, todo = {}, {}
    for chapter in wanted:
        title = f"chapter {names.index(chapter.name) + 1} of {len(names)}, {chapter.name} ({scale})"
        try:
            copy = run.expected_copy(chapter.path, root, scale)
            if again or not run.is_current(copy, root):
                todo[chapter.name] = (chapter.path, copy, title, recorded.get(chapter.name), root)
            else:
                say(f"{title}: current, not run again")
        except ValueError as error:
            say(f"{title}: FAILED")
            faults[chapter.name] = f"{chapter.name}: {error}"
    # one at a time where each takes all cores, or where something else shares out the work
    alone = scale == "full" or places.is_alone() or places.SCHEDULER in os.environ
    at_once = 1 if alone else min(len(todo), machine.at_once())
    seconds = {name: lasts(path, recorded) for name, (path, *_) in todo.items()}
    if todo and None not in seconds.values():
        longest = max(sum(seconds.values()) / at_once, *seconds.values())
        say(f"{len(todo)} to run, about {clock(longest)} by {record.TIMINGS}, less where work is kept")
    if at_once > 1:  # those that take longest first
        order = sorted(todo, key=lambda name: -(seconds[name] or 0))
        ended = _side_by_side({name: todo[name] for name in order}, at_once)
    else:
        ended = ((name, _run(*chapter)) for name, chapter in todo.items())
    for name, fault in ended:
        if fault:
            say(f"{todo[name][2]}: FAILED")
            faults[name] = fault
    return [faults[chapter.name] for chapter in wanted if chapter.name in faults]


def _run(notebook: Path, copy: run.Copy, title: str, recorded: Mapping[str, float] | None, root: Path) -> str:
    """Run a chapter; why it failed, or nothing."""
    try:
        run.run(notebook, copy.path, copy.given, Progress(title, recorded, bar=not places.is_alone()), root)
    except run.RunError as error:
        return str(error)  # it names the chapter
    except ValueError as error:
        return f"{notebook.stem}: {error}"
    return ""


def _side_by_side(todo: Mapping[str, tuple], at_once: int) -> Iterator[tuple[str, str]]:
    """Runs chapters, the first ones first, and gives each with its fault as it ends."""
    # a process of the place has one core, and so has the kernel that it starts
    tasks = {name: places.Task(__name__, "_run", functools.partial(tuple, todo[name])) for name in todo}
    place, left = places.Processes(at_once), list(todo)
    try:
        with contextlib.closing(places.results(place, tasks)) as coming:
            for name, outcome in coming:
                left.remove(name)
                yield name, f"{name}: {outcome}" if isinstance(outcome, BaseException) else outcome
    except places.Lost as error:
        for name in left:
            yield name, f"{name}: {error}"
    place.close()  # they hold cores


def lasts(notebook: Path, recorded: Mapping[str, Mapping[str, float]]) -> float | None:
    """Seconds that a chapter takes from nothing, by the recorded times of one scale; None when unknown."""
    if notebook.stem not in recorded:
        return None
    return sum(expected(recorded[notebook.stem], [run.timed(cell) for cell in run.load(notebook).cells]))


def build_pages(root: Path, scale: str, builder: str = "html") -> Path:
    """Build the pages into a staging folder, ``html`` or ``latex`` for print, with every warning an error.

    Returns:
        The folder with the pages.

    Raises:
        RunError: with the warnings, when there are any.
    """
    staging = root / "_build" / "staging" / (scale if builder == "html" else builder)
    _empty(staging)
    command = [sys.executable, "-c", _PAGES, "build", "."]
    command += ["--path-output", str(staging), "--builder", builder, "-n", "-W", "--keep-going", "--all"]
    environment = {**os.environ, SCALE: scale, INSIDE: "1"}
    log = staging / "sphinx.log"
    files = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with open(log, "w", encoding="utf-8") as stream:
        with subprocess.Popen(command, cwd=root, env=environment, stdout=stream, **files) as pages:
            failed = pages.wait()
    if failed:
        lines = _COLOUR.sub("", log.read_text("utf-8")).splitlines()
        full = os.strerror(errno.ENOSPC)
        if any(full in line for line in lines):  # each file that was not written is told there
            raise run.RunError(f"the pages cannot be written to {staging.relative_to(root)}: {full}")
        marked = [line for line in lines if any(word in line for word in ("WARNING", "ERROR", "Error:"))]
        where = f"all that the page builder said is in {log.relative_to(root)}"
        raise run.RunError("\n".join([*(marked or lines[-15:]), where]))
    return staging / "_build" / builder


def _empty(folder: Path) -> None:
    """Make an empty folder, also where a page builder that is about to end still writes to the old one."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            return
        except OSError as error:
            meanwhile = error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT)
            if not meanwhile or time.monotonic() > end:
                raise
            time.sleep(0.1)


def publish(new: Path, place: Path) -> None:
    """Put new pages in the place of the last good ones, which stay until the new ones are whole.

    The folder of the new pages, on the same file system, is moved.
    """
    recover(place)
    old = place.with_name(f".{place.name}.old")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        os.rename(place, old)
    try:
        os.rename(new, place)
    except OSError:
        recover(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """Bring back the last good pages if a build was killed while it replaced them."""
    old = place.with_name(f".{place.name}.old")
    if old.exists() and not (place / "index.html").exists():
        shutil.rmtree(place, ignore_errors=True)  # Sphinx makes an empty one when it starts
        os.rename(old, place)
    shutil.rmtree(old, ignore_errors=True)


def changed_verdicts(root: Path, notebooks: Sequence[Any]) -> list[str]:
    """Verdicts that are not the recorded ones, counted and as a table; empty when all are."""
    changed = record.changes(record.read(root / record.VERDICTS)[0], record.verdicts(notebooks))
    rows = [(chapter, claim, was or "(new)", now or "(gone)") for chapter, claim, was, now in changed]
    table = record.table(rows, ("chapter", "claim", "recorded", "now"))
    return [f"{len(rows)} verdict(s) differ from {record.VERDICTS}:", table] if rows else []


def judged(root: Path, scale: str) -> None:
    """See that all copies are whole and have, at full scale, known verdicts.

    Raises:
        RunError: naming all that is not so.
    """
    notebooks = executed(root, scale)
    if scale == "full" and (found := changed_verdicts(root, notebooks)):
        remedy = "sgd-book record (make record), then build again"
        refuse([*found, f"If that is right and explained in the chapter: {remedy}."])


def ready(root: Path, scale: str, say: Say = say) -> None:
    """Run what is not current, and judge all copies; RunError naming all that failed."""
    refuse(run_chapters(root, scale, say=say))
    judged(root, scale)


def made_from(root: Path, scale: str) -> str:
    """Hash of all that the pages of a scale are made from now."""
    copies = [run.copy_path(chapter.path, root, scale) for chapter in chapters(root)]
    return standing.sources(root, [*copies, *(path for _, path in pages(root))])


def build(root: Path, scale: str, say: Say = say) -> int:
    """Run what is not current, gate, compare verdicts (full scale), build the pages, gate them, publish.

    Returns:
        0 when the book was published, 1 when anything failed and the last good book was left where it is.
    """
    place, prefix = html_folder(root, scale), urlsplit(address()).path or "/"
    shown = (place / "index.html").relative_to(root)
    try:
        with run.lock(root, say):
            recover(place)
            ready(root, scale, say)
            staged, now = place, made_from(root, scale)
            if not standing.current(place, now):
                say("building the pages")
                staged = build_pages(root, scale)
            refuse(gate.html_faults(staged, scale != "full", prefix))
            if staged != place:
                standing.mark(staged, now)
                publish(staged, place)
    except (run.RunError, OSError) as error:
        say(f"\nthe book was NOT built:\n{error}")
        if (root / shown).exists():
            say(f"the last good book is still at {shown}")
        return 1
    say(f"the book is at {shown}")
    return 0


def print_book(root: Path, say: Say = say) -> int:
    """Make ``_build/book.pdf`` of the full-scale chapters, which are run where they are not current.

    Returns:
        0 when the PDF was made, 1 when anything failed and the last one was left where it is.
    """
    place = root / "_build" / "book.pdf"
    try:
        refuse(list(filter(None, [latex.missing()])))
        with run.lock(root, say):
            ready(root, "full", say)
            say("building the pages, then the PDF: some minutes")
            os.replace(latex.pdf(build_pages(root, "full", "latex") / "book.tex"), place)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"the PDF was NOT made:\n{error}")
        return 1
    say(f"the PDF is at {place.relative_to(root)}")
    return 0


def keep_record(root: Path, say: Say = say, scale: str = "full") -> int:
    """Record verdicts, covers and timings of the full-scale copies, or the timings of another scale alone.

    A chapter whose run took kept work keeps the timings that it has.

    Returns:
        0, or 1 when the chapters of that scale are not all current: then nothing is recorded.
    """
    with run.lock(root, say):
        try:
            notebooks = executed(root, scale)
        except run.RunError as error:
            say(f"nothing was recorded, the chapters at scale {scale} are not all current:\n{error}")
            return 1
        timings, made = record.read(root / record.TIMINGS)
        for chapter, notebook in zip(chapters(root), notebooks, strict=True):
            if seconds := record.timings(notebook):
                timings.setdefault(scale, {})[chapter.name] = seconds
                made.setdefault(scale, {}).update(record.provenance([notebook]))
            else:
                say(f"{chapter.name}: its run took kept work, so its times are not recorded")
        record.write(root / record.TIMINGS, timings, made)
        if scale == "full":
            say("\n".join(changed_verdicts(root, notebooks)) or "no verdict changed")
            record.write(root / record.VERDICTS, record.verdicts(notebooks), record.provenance(notebooks))
            for chapter, notebook in zip(chapters(root), notebooks, strict=True):
                if (picture := record.cover(notebook)) is not None:
                    store.put(root / f"results/{chapter.name}.svg", picture.encode())
    say(f"recorded in {record.VERDICTS + ' and ' if scale == 'full' else ''}{record.TIMINGS}")
    return 0


def check(root: Path, scale: str, say: Say = say) -> int:
    """Gate what is there: executed copies, verdicts and built pages. Nothing is run or built."""
    place, prefix = html_folder(root, scale), urlsplit(address()).path or "/"
    shown = place.relative_to(root)
    with run.lock(root, say):
        try:
            judged(root, scale)
            own = standing.current(place, made_from(root, scale))
            faults = [] if own else [f"{shown} was edited, or was made from something else: build it again"]
        except run.RunError as error:
            faults = [str(error)]
        there = place.is_dir()
        faults += gate.html_faults(place, scale != "full", prefix) if there else [f"no book at {shown}"]
    say("\n".join(faults) or "passed")
    return 1 if faults else 0


def status(root: Path, say: Say = say) -> int:
    """Say of every chapter and scale whether its executed copy is current, and how long it took."""
    rows = []
    for chapter in chapters(root):
        for scale in run.SCALES:
            path = run.copy_path(chapter.path, root, scale)
            state, took = "not run", None
            if path.exists():
                try:
                    copy = run.expected_copy(chapter.path, root, scale)
                    state = "current" if run.is_current(copy, root) else "out of date"
                    took = run.load(path).metadata["papermill"]["duration"]
                except (ValueError, KeyError) as error:
                    state = str(error)
            failed = "last run failed" if path.with_suffix(".failed.ipynb").exists() else ""
            rows.append((chapter.name, scale, state, clock(took), failed))
    say(record.table(rows, ("chapter", "scale", "executed copy", "took", "")))
    for scale, command in (("full", "make book"), ("preview", "make preview")):
        place = html_folder(root, scale) / "index.html"
        say(f"{scale} book: {place.relative_to(root) if place.exists() else f'not built: {command}'}")
    sizes = [path.stat().st_size for path in store.folder().glob("*.chunk")]
    say(
        f"trained and kept: {len(sizes)} chunks, {sum(sizes) / 1e6:.0f} MB; "
        f"what nobody used for {store.DAYS} days is removed"
    )
    try:
        store.check_writable(root / "_build")
    except PermissionError as error:
        say(str(error))
    return 0
