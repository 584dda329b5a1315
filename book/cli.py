"""The command line ``sgd-book``, the same by ``python -m book``. make calls it.

Arguments are checked before anything else, and what a command needs is imported by that command alone, so
that help and refusals come at once.
"""

import contextlib
import logging
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from book import contents

INTERRUPTED = "\ninterrupted; what was finished is kept, the same command goes on from there"
LIMITS = (  # with less, sockets end in a traceback, and NumPy's libraries wait for memory for ever
    ("open files", resource.RLIMIT_NOFILE, 256, "ulimit -n 256"),
    ("bytes of memory", resource.RLIMIT_AS, 2 << 30, "ulimit -v unlimited"),
)
KINDS = "uniform:LOW:HIGH, log:LOW:HIGH, int:LOW:HIGH or choice:V,V,..."  # of random values in a sweep
EXAMPLES = """\b
Examples of what follows the command:
  greedy_layerwise_training --smoke --grid rate=0.001,0.01 --grid networks=4,8 --dry-run
  greedy_layerwise_training -p networks 50 --sample rate=log:1e-4:1e-1 --runs 20 --seed 1
  plateau_after_lr_jump --preview --grid first_seed=1,2,3 --measure optimum
  broken_net_recovery --list my_runs.csv --scheduler tcp://host:8786"""
MANY: dict[str, Any] = {"multiple": True}
FOLDER, COUNT = click.Path(path_type=Path, file_okay=False), click.IntRange(1)
NOTHING = "not run: nothing is there yet. make book makes everything, make preview a first look in minutes"
OWN = "A parameter of your own, for one chapter; may be repeated."
REDUCED = "Reduced parameters, every page marked as a preview."
PREVIEW = click.option("--preview", "scale", flag_value="preview", default="full", help=REDUCED)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Five questions about stochastic gradient descent: run the chapters, build the book."""
    contents.check_here(click.get_current_context().obj)
    for what, limited, least, remedy in LIMITS:
        limit, _ = resource.getrlimit(limited)
        if 0 <= limit < least:  # some systems have -1 for none
            raise ValueError(f"{what} are limited to {limit}, wanted {least} at least: {remedy}")


def _check(root: Path) -> None:
    """See that chapters will find this library and the data, before any kernel starts."""
    from lib import data

    contents.check_library(root)
    data.load()


@cli.command()
@click.argument("what", type=click.Choice(["fetch", "verify", "where"]))
def data(what: str) -> None:
    """Fetch MNIST, verify it (its hash is taken, nothing is fetched), or say where it lies."""
    from book import fetch
    from lib import data

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    {"fetch": fetch.fetch, "verify": data.load, "where": data.place}[what]()
    click.echo(f"{data.place()}" + ": MNIST, content verified" * (what != "where"))


@cli.command()
@PREVIEW
@click.pass_obj
def build(root: Path, scale: str) -> int:
    """Run what is not current, judge it, compare verdicts, build the pages, judge those, publish."""
    contents.address()
    _check(root)
    from book import build

    return build.build(root, scale)


@cli.command()
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
@PREVIEW
@click.option("--again", is_flag=True, help="Run those that are current, too.")
@click.option("given", "-p", nargs=2, metavar="NAME VALUE", help=OWN, **MANY)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File for the copy (with -p).")
@click.pass_obj
def run(
    root: Path, chapters: tuple[str], scale: str, again: bool, given: tuple[tuple[str, str]], out: Path | None
) -> int:
    """Run chapters that are not current (all if none is named), or one at parameters of your own.

    Nothing is built.
    """
    refused = {"--preview": scale == "preview", "--again": again} if given else {"--out": out}
    why = "cannot stand with -p" if given else "wants parameters: -p NAME VALUE"
    for option in filter(refused.get, refused):
        raise click.UsageError(f"{option} {why}")
    names = [name for name, _ in given]
    if twice := {name for name in names if names.count(name) > 1}:
        raise click.UsageError(f"-p {', '.join(sorted(twice))} is given more than once")
    wanted = contents.chapters(root, chapters)
    if out and out.suffix != ".ipynb":
        raise ValueError(f"--out: got {os.fspath(out)!r}, wanted a file that ends in .ipynb")
    if out:
        contents.check_elsewhere(root, "--out", out)
    _check(root)
    if given:
        if len(chapters) != 1:
            raise click.UsageError(f"-p wants one chapter: {', '.join(chapter.name for chapter in wanted)}")
        return _own(root, wanted[0], dict(given), out)
    from book import build
    from book.run import lock

    with lock(root, click.echo):
        build.refuse(build.run_chapters(root, scale, chapters, again))
    return 0


def _own(root: Path, chapter: contents.Chapter, given: dict[str, str], out: Path | None) -> int:
    """Run one chapter at parameters of one's own; in a file elsewhere it waits for nobody."""
    from book import build, record, run
    from book.progress import Progress, clock
    from lib.ensembles import store
    from lib.page import params

    given = run.from_here(chapter.path, given, root)
    values = params.check(params.schema(chapter.path), given)
    own = root / "_build" / "executed" / "custom"
    digest = store.digest({name: values[name] for name in given})
    place = (out or own / f"{chapter.name}-{digest[:8]}.ipynb").absolute()
    store.check_writable(place, store.folder())
    recorded = record.read(root / record.TIMINGS)[0].get("full", {})
    if seconds := build.lasts(chapter.path, recorded):
        click.echo(f"{chapter.name}: at its own parameters it takes about {clock(seconds)}")
    with contextlib.nullcontext() if out else run.lock(root, click.echo):
        run.run(chapter.path, place, given, Progress(chapter.name), root)
    click.echo(f"executed copy: {os.path.relpath(place)}")
    return 0


@cli.command()
@click.pass_obj
def status(root: Path) -> int:
    """Say which chapters are current, how long they took, and which books are built."""
    if not any((root / "_build" / "executed").glob("*/*.ipynb")):
        from lib.ensembles import store

        click.echo(NOTHING)
        store.check_writable(root / "_build")
        return 0
    from book import build

    return build.status(root)


@cli.command()
@PREVIEW
@click.pass_obj
def record(root: Path, scale: str) -> int:
    """Accept the verdicts and times of the full-scale run; with --preview, the times of the preview alone."""
    from book import build

    return build.keep_record(root, scale=scale)


@cli.command()
@PREVIEW
@click.pass_obj
def gate(root: Path, scale: str) -> int:
    """Judge the executed copies, their verdicts and the built pages; run nothing."""
    contents.address()
    from book import build

    return build.check(root, scale)


@cli.command()
@click.pass_obj
def pdf(root: Path) -> int:
    """Make a PDF of the whole book, with Debian's TeX."""
    _check(root)
    from book import build

    return build.print_book(root)


@cli.command()
@click.argument("name")
@click.pass_obj
def new(root: Path, name: str) -> None:
    """Make a chapter from the template, NAME being lower-case words joined by _."""
    path = contents.add_chapter(root, name)
    click.echo(f"made {path.relative_to(root)}, listed in _toc.yml; CONTRIBUTING.md says what comes next")


@cli.command()
@click.argument("chapter")
@click.argument("place", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def copy(root: Path, chapter: str, place: Path | None) -> None:
    """Copy CHAPTER to PLACE (mine/CHAPTER.ipynb) to work on; git does not look into mine/."""
    (found,) = contents.chapters(root, [chapter])
    place = place or root / "mine" / found.path.name
    contents.check_elsewhere(root, "PLACE", place)
    if place.exists():
        raise ValueError(f"{place} exists: name another place, or take it away")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.path, place)
    click.echo(f"copied to {os.path.relpath(place)}: open it with make lab, or give it to papermill")


@cli.command()
@click.pass_obj
def defaults(root: Path) -> None:
    """Keep the chapters' parameters cells as the record of their defaults, after a change of one."""
    for chapter in contents.chapters(root):
        contents.keep_defaults(root, chapter.path)


@cli.command()
@click.argument("folder", required=False, type=FOLDER)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.pass_obj
def serve(root: Path, folder: Path | None, port: int) -> None:
    """Show a built book to browsers here: FOLDER, or the book, or where there is none its preview."""
    import functools
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    places = [folder] if folder else [contents.html_folder(root, scale) for scale in ("full", "preview")]
    place = next((place for place in places if (place / "index.html").exists()), None)
    if place is None:
        missing = " or ".join(map(os.path.relpath, places))
        raise ValueError(f"no book at {missing}: make book, or make preview")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=place)
    try:
        opened = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise OSError(f"--port {port}: {error.strerror}; name another one") from None
    with opened as server:
        what = os.path.relpath(place) + " (only a preview is built)" * (place != places[0])
        click.echo(f"{what} is at http://localhost:{server.server_port}/, until Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@cli.command(epilog=EXAMPLES, context_settings={"max_content_width": 110})
@click.argument("name", metavar="CHAPTER")
@click.option("--grid", "axes", metavar="NAME=V,V", help="Values; repeat for combinations.", **MANY)
@click.option("--list", "file", type=Path, metavar="FILE", help="CSV (a line each) or JSON (an object each).")
@click.option("--sample", "specs", metavar="NAME=KIND", help=f"Random: {KINDS}; repeat for more.", **MANY)
@click.option("--runs", type=COUNT, metavar="N", help="Size of the sample.")
@click.option("--seed", type=click.IntRange(0), metavar="S", help="Of the sample (default 0).")
@click.option("-p", "fixed", nargs=2, metavar="NAME VALUE", help="A parameter of all runs.", **MANY)
@click.option("--preview", is_flag=True, help="Start from the reduced parameters.")
@click.option("--smoke", is_flag=True, help="Start from the smallest parameters.")
@click.option("--dry-run", is_flag=True, help="Check, show runs and estimated time, run nothing.")
@click.option("--measure", metavar="NAME", help="Claim or number to draw (default the first claim).")
@click.option("--out", type=FOLDER, metavar="DIR", help="Default _build/sweeps/<chapter>-<hash>.")
@click.option("--workers", type=COUNT, metavar="N", help="Runs at once here (default a core each).")
@click.option("--scheduler", metavar="ADDRESS", help="Run on a Dask cluster, e.g. tcp://host:8786.")
@click.pass_obj
def sweep(root: Path, **chosen: Any) -> int:
    """Run CHAPTER, the name of a chapter or the path of a notebook like one, over many sets of parameters.

    The sets come from one of --grid, --list and --sample. Done runs are never run again.
    """
    from book import sweep

    return sweep.command(root, **chosen)


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Has SIGTERM end a command as Ctrl-C does, which leaves nothing half, with exit status 143."""
    received = []

    def end(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if received:
            sys.exit(128 + received[0])


@_terminated()
def main(arguments: Sequence[str] | None = None, root: Path = contents.ROOT) -> int:
    """The command line; ``arguments`` are what follows the command's name, those of the process if None.

    Returns:
        The exit status: 0; 1 when something failed; 2 for arguments that are none; 130 when interrupted.

    Raises:
        SystemExit: with status 143, when the process was told to end by SIGTERM.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it complains of what an interruption leaves
    try:
        return cli.main(arguments, "sgd-book", standalone_mode=False, obj=root) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(INTERRUPTED)
        return 130
    except (ValueError, OSError, RuntimeError) as error:  # a chapter that did not run is a RuntimeError
        click.echo(error, sys.stderr)
        return 1
