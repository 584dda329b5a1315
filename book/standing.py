"""Whether the pages that stand are those that a build would make, so that it need not make them again.

A mark in their folder holds two hashes: of all that they were made from, and of the pages themselves.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lib.ensembles import machine, store

MARK = ".made.json"
_NAMED = ("_config.yml", "_toc.yml", "CITATION.cff", "results/verdicts.json", *machine.REQUIREMENTS)
_FOLDERS = ("book", "lib", "_static")
_VARIABLES = ("SGD_BOOK_URL", "SGD_BOOK_REPOSITORY")


def _hash(files: Iterable[Path], root: Path, *texts: str) -> str:
    hashes = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return store.digest([hashes, texts])


def sources(root: Path, pages: Iterable[Path]) -> str:
    """Hash of all that a project's pages are made from.

    These pages and executed copies, bibliography, settings, recorded verdicts, styles, requirements, Python,
    the code that makes the pages, and what the environment says of the book's addresses.
    """
    files = [*pages, *root.glob("*.bib"), *(path for name in _NAMED if (path := root / name).is_file())]
    for folder in _FOLDERS:  # a folder may be a link, which globbing from above would not follow
        inside = (root / folder).rglob("*")
        files += [path for path in inside if path.is_file() and path.suffix != ".pyc"]
    return _hash(files, root, sys.version, *(os.environ.get(name, "") for name in _VARIABLES))


def _note(html: Path, made_from: str) -> bytes:
    pages = (path for path in html.rglob("*") if path.is_file() and path != html / MARK)
    return json.dumps({"from": made_from, "pages": _hash(pages, html)}).encode() + b"\n"


def mark(html: Path, made_from: str) -> None:
    """Note in a folder of new pages what they were made from, as ``sources`` gave it before they were."""
    store.put(html / MARK, _note(html, made_from))


def current(html: Path, made_from: str) -> bool:
    """Whether a folder holds, unchanged, the pages made from the same sources."""
    noted = html / MARK
    return noted.is_file() and noted.read_bytes() == _note(html, made_from)
