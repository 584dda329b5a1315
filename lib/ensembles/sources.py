"""Which modules of the library a text of Python reaches by its imports: what its results depend on."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "lib"


def modules(texts: Iterable[str], root: Path, inside: str = "") -> dict[str, Path]:
    """Modules of the library that texts import, directly or through one another, at any place in them.

    Args:
        texts: Python texts.
        root: Folder that holds the package ``lib``.
        inside: Dotted name of the package that the texts lie in, for their relative imports.

    Returns:
        Path by dotted name, packages included. Imports by a name computed at run time are not seen.

    Raises:
        ValueError: A text does not parse.
    """
    found: dict[str, Path] = {}
    todo = [(inside, text) for text in texts]
    while todo:
        for name in _imported(*todo.pop()):
            parts = name.split(".")
            for k in range(1, len(parts) + 1):
                dotted, base = ".".join(parts[:k]), root.joinpath(*parts[:k])
                path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
                if dotted not in found and path.is_file():
                    found[dotted] = path
                    package = dotted if base.is_dir() else ".".join(parts[: k - 1])
                    todo.append((package, path.read_text("utf-8")))
    return dict(sorted(found.items()))


def _imported(inside: str, text: str) -> Iterator[str]:
    """Dotted names within the library that a text may import; ``inside`` is the package it lies in."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"does not parse: {error}") from None
    package = inside.split(".")
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.split(".")[0] == PACKAGE)
