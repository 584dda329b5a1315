"""A new chapter from the template: ``python -m build.template NAME``.

The template, `chapters/template/chapter.ipynb`, is a whole chapter that runs: a small question with claims, a
run, a figure, glued numbers and verdicts, each in its place.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from book import build, run

TEMPLATE = "chapters/template/chapter.ipynb"


def create(root: Path, name: str) -> Path:
    """Makes a new chapter and lists it in the table of contents, after the other chapters.

    Args:
        root: the project's folder.
        name: of the chapter's file without its ending.

    Returns:
        The notebook.

    Raises:
        ValueError: the name is none, or is taken; nothing has been written then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ValueError(f"name: got {name!r}, wanted lower-case words joined by '_', such as wide_nets")
    path, contents = root / "chapters" / f"{name}.ipynb", root / "_toc.yml"
    if path.exists():
        raise ValueError(f"name: {name!r} is taken, chapters/{name}.ipynb exists")
    lines = contents.read_text("utf-8").splitlines()
    last = max(k for k, line in enumerate(lines) if re.match(r"\s*- file: chapters/", line))
    lines.insert(last + 1, re.sub(r"chapters/.*", f"chapters/{name}", lines[last]))
    text = (root / TEMPLATE).read_text("utf-8")
    title = name.replace("_", " ").capitalize()
    for old, new in (
        ("chapter_name", name),
        ("chapter-name", name.replace("_", "-")),
        ("Chapter title", title),
    ):
        text = text.replace(old, new)
    run.write(path, text)
    run.write(contents, "\n".join(lines) + "\n")
    return path


def main(arguments: Sequence[str] | None = None, root: Path = build.ROOT) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m build.template", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "name", help="of the new chapter's file, without ending: lower-case words joined by _"
    )
    try:
        path = create(root, parser.parse_args(arguments).name)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    build.say(f"made {path.relative_to(root)}, listed in _toc.yml; CONTRIBUTING.md says what comes next")
    return 0


if __name__ == "__main__":
    sys.exit(main())
