"""What made a page: the stamp at a chapter's end, as ``application/vnd.sgd-book.stamp+json``."""

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import IPython.display

from lib.ensembles import machine, store
from lib.page.text import grid, plain

STAMP_MIME = "application/vnd.sgd-book.stamp+json"
STAMP_FIELDS = tuple(
    "commit clean parameters overridden seeds data_sha256 versions processor threads system started seconds "
    "chunks".split()
)
PACKAGES = ("tensorflow", "numpy", "scipy", "seaborn", "papermill", "jupyter-book")
_ROOT = Path(__file__).resolve().parents[2]


def _git(*words: str) -> str | None:
    """What git answers about the project's own checkout, None when it does not."""
    # a hook's GIT_DIR is not ours
    outside = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=outside)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def seeds_shown(record: Mapping[str, Any]) -> str:
    """The seeds of a stamp as text."""
    seeds = record["seeds"]
    return "none" if seeds is None else "{first} to {last} ({number})".format(**seeds)


def chunks_shown(record: Mapping[str, Any]) -> str:
    """Where the networks of a stamp come from, as text: they are computed and kept in chunks."""
    computed, kept = (record["chunks"][what] for what in ("computed", "kept"))
    if not kept:
        return "all computed in this run" if computed else "none"
    kept_from = "kept from an earlier run of the same code, parameters and seeds on such a machine"
    return f"{kept} of {kept + computed} chunks {kept_from}" if computed else f"all {kept_from}"


def stamp(parameters: Any, data_sha256: str, started: float, seeds: Iterable[int]) -> None:
    """Shows what made this page: commit, parameters, seeds, data, versions, machine, time taken.

    Args:
        parameters: the record of ``params.take``.
        data_sha256: hash of the data's content, 64 hexadecimal digits.
        started: ``time.time()`` at the chapter's start, seconds since 1970.
        seeds: of the chapter's networks; empty when it draws nothing.

    Raises:
        ValueError: when the hash or the start is none, or a seed is no whole number.
    """
    if not (isinstance(data_sha256, str) and re.fullmatch(r"[0-9a-f]{64}", data_sha256)):
        raise ValueError(f"data_sha256: got {data_sha256!r}, wanted 64 hexadecimal digits")
    seconds = time.time() - plain("started", started)
    if not -1e8 < seconds < 1e8:  # the clock may have been set back meanwhile
        raise ValueError(f"started: got {started!r}, wanted time.time() of the chapter's start")
    drawn = sorted(plain("seeds", seed) for seed in seeds)
    if any(isinstance(seed, float) for seed in drawn):
        raise ValueError(f"seeds: got {drawn!r}, wanted whole numbers")
    # a copy of this library inside some other checkout must not take that one's commit for its own
    ours = _git("ls-files", "--error-unmatch", "--", str(Path(__file__).resolve()))
    commit = _git("rev-parse", "HEAD") if ours else None
    changes = (
        _git("status", "--porcelain", "--untracked-files=no"),
        # in the folders of code, new files too
        _git("status", "--porcelain", "--untracked-files=normal", "--", "lib", "book", "chapters"),
    )
    library = " ".join(platform.libc_ver()).strip() or platform.mac_ver()[0] or platform.release()
    record = {
        "commit": commit or "unknown",
        "clean": None if None in (commit, *changes) else not any(changes),
        "parameters": parameters.asdict(),
        "overridden": list(parameters.overridden),
        "seeds": {"number": len(drawn), "first": drawn[0], "last": drawn[-1]} if drawn else None,
        "data_sha256": data_sha256,
        "versions": {"Python": platform.python_version(), **{p: machine.version(p) for p in PACKAGES}},
        "processor": machine.processor(),
        "threads": machine.at_once(),
        # what, beside the processor, rounding may depend on
        "system": f"{platform.system()} {platform.machine()}, {library}",
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1) if seconds >= 0 else None,
        "chunks": store.origins(),
    }
    state = {None: "", True: ", unchanged", False: ", with changes not committed"}[record["clean"]]
    took = "unknown, the clock was set back" if seconds < 0 else f"{record['seconds']} seconds"
    rows = [
        ("commit", record["commit"] + state),
        ("parameters", "changed: " + ", ".join(record["overridden"]) if record["overridden"] else "defaults"),
        ("seeds", seeds_shown(record)),
        ("data", f"sha256 {data_sha256}"),
        *((package, version) for package, version in record["versions"].items()),
        ("processor", f"{record['processor']}, {record['threads']} threads"),
        ("system", record["system"]),
        ("started", record["started"]),
        ("time taken", took),
        ("networks", chunks_shown(record)),
    ]
    html = grid("sgd-stamp", "What made this page", ("what", "value"), rows)
    text = "\n".join(f"{what}: {value}" for what, value in rows)
    IPython.display.display({"text/html": html, "text/plain": text, STAMP_MIME: record}, raw=True)
