"""Contents of the book: its pages in their order, its chapters, where its parts lie, and a new chapter."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[1]
URL = "SGD_BOOK_URL"  # the address at which the book is published, where it is known
TEMPLATE = "chapters/template/chapter.ipynb"


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


def chapters(root: Path, names: Sequence[str] = ()) -> list[Chapter]:
    """Chapters of the book in their order: the pages that are notebooks, or those of them that are named.

    Raises:
        ValueError: for a name that no chapter has.
    """
    every = [Chapter(docname, path) for docname, path in pages(root) if path.suffix == ".ipynb"]
    unknown = sorted({*names} - {chapter.name for chapter in every})
    if unknown:
        there = ", ".join(chapter.name for chapter in every)
        raise ValueError(f"no chapter {' or '.join(unknown)}; there are {there}")
    return [chapter for chapter in every if not names or chapter.name in names]


def check_elsewhere(root: Path, option: str, place: Path) -> None:
    """Refuse to write among the chapters; ValueError that names the option that asked for it."""
    if place.resolve().is_relative_to((root / "chapters").resolve()):
        raise ValueError(f"{option}: {os.fspath(place)!r} is among the chapters, wanted a place elsewhere")


def html_folder(root: Path, scale: str) -> Path:
    """Where the built pages of a scale are published."""
    return root / "_build" / "html" if scale == "full" else root / "_build" / scale / "html"


def address() -> str:
    """The address at which the book is published, ending in ``/``; empty where it is not known.

    Raises:
        ValueError: when the environment holds something else.
    """
    given = os.environ.get(URL, "")
    parts = urlsplit(given)
    whole = parts.scheme in ("http", "https") and parts.netloc and not parts.query + parts.fragment
    if given and not whole:
        raise ValueError(f"{URL}: got {given!r}, wanted an address as https://host/path/")
    return given and given.rstrip("/") + "/"


def check_library(root: Path) -> None:
    """See that kernels which start in the project's folder get its library.

    Raises:
        ValueError: another ``lib`` stands before it, on PYTHONPATH.
    """
    for way in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        other = next((p for p in (Path(way, "lib/__init__.py"), Path(way, "lib.py")) if p.exists()), None)
        if other is not None and other.resolve() != (root / "lib/__init__.py").resolve():
            raise ValueError(f"PYTHONPATH: chapters would import {other} for {root / 'lib'}: take {way} out")


def check_here(root: Path) -> None:
    """See that whoever stands in a checkout of the book gets that one, and no other that is installed.

    Raises:
        ValueError: the command is another checkout's, and how to get the one of this folder.
    """
    here, marks = Path.cwd(), ("_toc.yml", "book/cli.py")
    own = next((p for p in (here, *here.parents) if all((p / mark).is_file() for mark in marks)), None)
    if root == ROOT and own is not None and (own / "book").resolve() != root / "book":
        raise ValueError(
            f"this command belongs to the book in {root}, and you are in {own}: "
            f"there, `python -m book` is the same for its own book"
        )


def keep_defaults(root: Path, notebook: Path) -> None:
    """Keep the text of a chapter's parameters cell as the record of its defaults, see `lib.page.params`."""
    from lib.page import params

    path = root / "lib" / "page" / "defaults" / f"{notebook.stem}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(params.cell(notebook) + "\n", "utf-8")


def add_chapter(root: Path, name: str) -> Path:
    """Copy the template, a whole chapter that runs, and list the copy after the other chapters.

    Returns:
        The notebook, a file of that name.

    Raises:
        ValueError: the name is none, or is taken; nothing has been written then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ValueError(f"name: got {name!r}, wanted lower-case words joined by '_', such as wide_nets")
    path, contents = root / "chapters" / f"{name}.ipynb", root / "_toc.yml"
    if path.exists():
        raise ValueError(f"name: {name!r} is taken, chapters/{name}.ipynb exists")
    text = (root / TEMPLATE).read_text("utf-8")
    title = name.replace("_", " ").capitalize()
    text = text.replace("chapter_name", name).replace("chapter-name", name.replace("_", "-"))
    path.write_text(text.replace("Chapter title", title), "utf-8")
    shutil.copytree((root / TEMPLATE).parent / "parameters", path.parent / "parameters" / name)
    keep_defaults(root, path)
    last = r"(?s)(.*\n( *- file: chapters/)[^\n]*\n)"
    listed = re.sub(last, rf"\g<1>\g<2>{name}\n", contents.read_text("utf-8"), count=1)
    contents.write_text(listed, "utf-8")
    return path
