"""Builds the book: run the chapters, gate them, build the pages, gate those, compare verdicts, publish.

On the command line: ``python -m book.build run|build|gate|record|status``, each with ``--help``.

Chapters that are current are not run again, and one that fails does not keep the others from running. The
new book takes the place of the last good one only when everything has passed.
"""

import argparse
import errno
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sphinx_external_toc.parsing import parse_toc_yaml

from book import gate, latex, record, run, standing
from book.progress import Progress, clock

ROOT = Path(__file__).resolve().parents[1]
INSIDE = "SGD_BOOK_INSIDE"  # set for the page builder: the chapters are there, and the lock is held
SCALE = "SGD_BOOK_SCALE"
URL = "SGD_BOOK_URL"  # the address at which the book is published, where it is known
Say = Callable[[str], None]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str) -> None:
    """Writes a line to the terminal at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def address() -> str:
    """The address at which the book is published, ending in ``/``; empty where it is not known.

    Raises:
        ValueError: when the environment holds something else.
    """
    given = os.environ.get(URL, "")
    parts = urlsplit(given)
    if given and not (
        parts.scheme in ("http", "https") and parts.netloc and not parts.query + parts.fragment
    ):
        raise ValueError(f"{URL}: got {given!r}, wanted an address as https://host/path/")
    return given and given.rstrip("/") + "/"


class Chapter(NamedTuple):
    """A notebook of the book.

    Attributes:
        docname: its page, e.g. ``chapters/greedy_layerwise_training``.
        path: of the notebook.
    """

    docname: str
    path: Path

    @property
    def name(self) -> str:
        """Its name without folder and ending."""
        return self.path.stem


def pages(root: Path) -> Iterator[tuple[str, Path]]:
    """Pages of the book in their order, as (docname, file).

    Raises:
        FileNotFoundError: when the table of contents names a page that is not there.
    """
    for name in parse_toc_yaml(root / "_toc.yml"):
        docname = name.removesuffix(".ipynb").removesuffix(".md")
        found = [path for ending in (".ipynb", ".md") if (path := root / f"{docname}{ending}").is_file()]
        if not found:
            raise FileNotFoundError(f"_toc.yml names {name}, and there is no such page")
        yield docname, found[0]


def chapters(root: Path) -> list[Chapter]:
    """Chapters of the book in their order: the pages that are notebooks."""
    return [Chapter(docname, path) for docname, path in pages(root) if path.suffix == ".ipynb"]


def html_folder(root: Path, scale: str) -> Path:
    """Where the built pages of a scale are published."""
    return root / "_build" / "html" if scale == "full" else root / "_build" / scale / "html"


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
        except FileNotFoundError:
            found = [f"has not been run at scale {scale}"]
        except ValueError as error:
            found = [str(error)]
        faults += [f"{chapter.name}: {fault}" for fault in found]
        if not found:
            notebooks.append(notebook)
    if faults:
        raise run.RunError("\n".join(faults))
    return notebooks


def run_chapters(
    root: Path, scale: str, only: Sequence[str] = (), again: bool = False, say: Say = say
) -> list[str]:
    """Run the chapters whose executed copies are not current.

    Args:
        root: the project's folder.
        scale: one of ``run.SCALES``.
        only: names of the chapters to run; all if empty.
        again: whether to run those that are current, too.
        say: takes messages.

    Returns:
        What failed, one text for each chapter that did.
    """
    faults, every = [], chapters(root)
    unknown = set(only) - {chapter.name for chapter in every}
    if unknown:
        there = ", ".join(chapter.name for chapter in every)
        raise ValueError(f"no such chapter: {', '.join(sorted(unknown))}; there are {there}")
    recorded = record.read(root / record.TIMINGS).get(scale, {})
    for number, chapter in enumerate(every, 1):
        if only and chapter.name not in only:
            continue
        title = f"chapter {number} of {len(every)}, {chapter.name} ({scale})"
        try:
            copy = run.expected_copy(chapter.path, root, scale)
            if not again and run.is_current(copy, root):
                say(f"{title}: current, not run again")
                continue
            run.run(chapter.path, copy.path, copy.given, Progress(title, recorded.get(chapter.name)), root)
        except (ValueError, run.RunError) as error:
            text = str(error) if isinstance(error, run.RunError) else f"{chapter.name}: {error}"
            say(f"{title}: FAILED")
            faults.append(text)
    return faults


def glue_faults(root: Path, notebooks: Sequence[Any]) -> list[str]:
    """Numbers that some page of the book wants from a chapter, and that are not given."""
    keys = {c.path.name: gate.glued(nb) for c, nb in zip(chapters(root), notebooks, strict=True)}
    faults = []
    for _, path in pages(root):
        prose = gate.prose(run.load(path)) if path.suffix == ".ipynb" else path.read_text("utf-8")
        faults += [f"{path.name}: {fault}" for fault in gate.glue_faults(prose, path.name, keys)]
    return faults


def build_pages(root: Path, scale: str, builder: str = "html") -> Path:
    """Build the pages into a staging folder, with every warning an error.

    Args:
        root: the project's folder.
        scale: ``full`` or ``preview``.
        builder: ``html``, or ``latex`` for print.

    Returns:
        The folder with the pages.

    Raises:
        RunError: with the warnings, when there are any.
    """
    staging = root / "_build" / "staging" / (scale if builder == "html" else builder)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["--path-output", str(staging), "--builder", builder, "-n", "-W", "--keep-going", "--all"]
    environment = {**os.environ, SCALE: scale, INSIDE: "1"}
    log = staging / "sphinx.log"
    with open(log, "w", encoding="utf-8") as stream:
        done = subprocess.run(
            command, cwd=root, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        lines = _COLOUR.sub("", log.read_text("utf-8")).splitlines()
        full = os.strerror(errno.ENOSPC)
        if any(full in line for line in lines):  # each file that was not written is told there
            raise run.RunError(f"the pages cannot be written to {staging.relative_to(root)}: {full}")
        marked = [line for line in lines if any(word in line for word in ("WARNING", "ERROR", "Error:"))]
        where = f"all that the page builder said is in {log.relative_to(root)}"
        raise run.RunError("\n".join([*(marked or lines[-15:]), where]))
    return staging / "_build" / builder


def publish(new: Path, place: Path) -> None:
    """Put new pages in the place of the last good ones, which stay until the new ones are whole.

    Args:
        new: folder with the new pages, on the same file system; it is moved.
        place: folder to replace.
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
    if old.exists() and not place.exists():
        os.rename(old, place)
    shutil.rmtree(old, ignore_errors=True)


def verdict_faults(root: Path, notebooks: Sequence[Any]) -> list[str]:
    """What to say when verdicts are not the recorded ones; empty when they are."""
    changed = record.changes(record.read(root / record.VERDICTS), record.verdicts(notebooks))
    if not changed:
        return []
    rows = [(c.chapter, c.claim, c.before or "(new)", c.now or "(gone)") for c in changed]
    return [
        f"{len(changed)} verdict(s) differ from {record.VERDICTS}:",
        record.table(rows, ("chapter", "claim", "recorded", "now")),
        "If that is right and explained in the chapter: python -m book.build record, then build again.",
    ]


def build(root: Path, scale: str, say: Say = say) -> int:
    """Run what is not current, gate, build the pages, gate them, compare verdicts (full scale), publish.

    Args:
        root: the project's folder.
        scale: ``full`` or ``preview``.
        say: takes messages.

    Returns:
        0 when the book was published, 1 when anything failed and the last good book was left where it is.
    """
    place, prefix = html_folder(root, scale), urlsplit(address()).path or "/"
    with run.lock(root, say):
        recover(place)
        faults = run_chapters(root, scale, say=say)
        try:
            if not faults:
                notebooks = executed(root, scale)
                faults = glue_faults(root, notebooks)
            if not faults:
                copies = [run.expected_copy(c.path, root, scale).path for c in chapters(root)]
                made_from = standing.sources(root, [*copies, *(path for _, path in pages(root))])
                staged = place
                if not standing.current(place, made_from):
                    say("building the pages")
                    staged = build_pages(root, scale)
                faults = gate.html_faults(staged, scale != "full", prefix)
                faults += verdict_faults(root, notebooks) if scale == "full" else []
            if not faults and staged != place:
                standing.mark(staged, made_from)
                publish(staged, place)
        except (run.RunError, OSError) as error:
            faults = [*faults, str(error)]
    if faults:
        say("\nthe book was NOT built:\n" + "\n".join(faults))
        if place.exists():
            say(f"the last good book is still at {(place / 'index.html').relative_to(root)}")
        return 1
    say(f"the book is at {(place / 'index.html').relative_to(root)}")
    return 0


def print_book(root: Path, say: Say = say) -> int:
    """Make ``_build/book.pdf`` of the full-scale chapters, which are run where they are not current.

    Returns:
        0 when the PDF was made, 1 when anything failed and the last one was left where it is.
    """
    place, faults = root / "_build" / "book.pdf", [text] if (text := latex.missing()) else []
    if not faults:
        with run.lock(root, say):
            try:
                faults = run_chapters(root, "full", say=say) or glue_faults(root, executed(root, "full"))
                if not faults:
                    say("building the pages, then the PDF: some minutes")
                    made = latex.pdf(build_pages(root, "full", "latex") / "book.tex")
                    os.replace(made, place)
            except (RuntimeError, OSError) as error:
                faults = [str(error)]
    if faults:
        say("\n".join(["the PDF was NOT made:", *faults]))
        return 1
    say(f"the PDF is at {place.relative_to(root)}")
    return 0


def keep_record(root: Path, say: Say = say) -> int:
    """Record verdicts, timings and covers of the full-scale copies, and timings of other current scales."""
    try:
        notebooks = executed(root, "full")
    except run.RunError as error:
        say(f"nothing was recorded, the full-scale chapters are not all current:\n{error}")
        return 1
    now, place = record.verdicts(notebooks), root / record.VERDICTS
    changed = record.changes(record.read(place), now)
    record.write(place, now, record.provenance(notebooks))
    timings, made = record.read(root / record.TIMINGS), record.read_provenance(root / record.TIMINGS)
    for scale in run.SCALES:
        try:
            copies = notebooks if scale == "full" else executed(root, scale)
        except run.RunError:
            continue
        timings[scale] = {c.name: record.timings(nb) for c, nb in zip(chapters(root), copies, strict=True)}
        made[scale] = record.provenance(copies)
    record.write(root / record.TIMINGS, timings, made)
    for chapter, notebook in zip(chapters(root), notebooks, strict=True):
        picture = record.cover(notebook)
        if picture is not None:
            run.write(root / f"results/{chapter.name}.svg", picture)
    rows = [(c.chapter, c.claim, c.before or "(new)", c.now or "(gone)") for c in changed]
    say(record.table(rows, ("chapter", "claim", "before", "now")) if rows else "no verdict changed")
    say(f"recorded in {record.VERDICTS} and {record.TIMINGS}")
    return 0


def check(root: Path, scale: str, say: Say = say) -> int:
    """Gate what is there: executed copies and built pages. Nothing is run or built."""
    place = html_folder(root, scale)
    try:
        faults = glue_faults(root, executed(root, scale))
    except run.RunError as error:
        faults = [str(error)]
    absent = [f"no book at {place.relative_to(root)}"]
    prefix = urlsplit(address()).path or "/"
    faults += gate.html_faults(place, scale != "full", prefix) if place.is_dir() else absent
    say("\n".join(faults) or "passed")
    return 1 if faults else 0


def status(root: Path, say: Say = say) -> int:
    """Say of every chapter and scale whether its executed copy is current, and how long it took."""
    rows = []
    for chapter in chapters(root):
        for scale in run.SCALES:
            try:
                copy = run.expected_copy(chapter.path, root, scale)
                state = "current" if run.is_current(copy, root) else "out of date"
                took = run.load(copy.path).metadata["papermill"]["duration"]
            except FileNotFoundError:
                state, took = "not run", None
            except (ValueError, KeyError) as error:
                state, took = str(error), None
            failed = (root / "_build" / "executed" / scale / f"{chapter.name}.failed.ipynb").exists()
            rows.append((chapter.name, scale, state, clock(took), "last run failed" if failed else ""))
    say(record.table(rows, ("chapter", "scale", "executed copy", "took", "")))
    for scale in ("full", "preview"):
        place = html_folder(root, scale) / "index.html"
        say(f"{scale} book: {place.relative_to(root) if place.exists() else 'not built'}")
    return 0


def _run(root: Path, given: argparse.Namespace) -> int:
    """The command ``run``: chapters at a scale, or one chapter at parameters of one's own."""
    with run.lock(root, say):
        if not given.parameter:
            faults = run_chapters(root, "preview" if given.preview else "full", given.chapter, given.again)
        else:
            named = [c for c in chapters(root) if c.name in given.chapter]
            if len(given.chapter) != 1 or not named:
                raise ValueError("-p wants one chapter: " + ", ".join(c.name for c in chapters(root)))
            out = given.out or root / "_build" / "executed" / "custom" / named[0].path.name
            faults = []
            try:
                run.run(named[0].path, out, dict(given.parameter), Progress(named[0].name), root)
                say(f"executed copy: {os.path.relpath(out)}")
            except run.RunError as error:
                faults = [str(error)]
    if faults:
        say("\n".join(faults))
    return 1 if faults else 0


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m book.build", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    preview = {"action": "store_true", "help": "reduced parameters, every page marked as a preview"}
    one = commands.add_parser("run", help="run chapters that are not current, build nothing")
    one.add_argument("chapter", nargs="*", help="names of chapters; all if none is given")
    one.add_argument("--preview", **preview)
    one.add_argument("--again", action="store_true", help="run those that are current, too")
    one.add_argument(
        "-p",
        dest="parameter",
        nargs=2,
        action="append",
        metavar=("NAME", "VALUE"),
        help="run one chapter at a parameter of your own; may be repeated",
    )
    one.add_argument("--out", type=Path, help="where the executed copy goes (with -p)")
    for name, text in (
        ("build", "run what is not current, gate, build the pages, compare verdicts, publish"),
        ("gate", "judge the executed copies and the built pages, run nothing"),
    ):
        commands.add_parser(name, help=text, description=text).add_argument("--preview", **preview)
    commands.add_parser("pdf", help="make a PDF of the whole book with Debian's TeX")
    commands.add_parser("record", help="accept the verdicts and timings of the full-scale run")
    commands.add_parser("status", help="say what is current")
    given = parser.parse_args(arguments)
    logging.getLogger("asyncio").setLevel(
        logging.CRITICAL
    )  # what an interruption leaves behind complains there
    scale = "preview" if getattr(given, "preview", False) else "full"
    try:
        if given.command == "run":
            return _run(root, given)
        if given.command in ("build", "gate"):
            return {"build": build, "gate": check}[given.command](root, scale)
        return {"record": keep_record, "status": status, "pdf": print_book}[given.command](root)
    except KeyboardInterrupt:
        say("\ninterrupted; what was finished is kept, the same command goes on from there")
        return 130
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
