"""Which modules a text of Python reaches by its imports, and what of their text results depend on."""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "lib"
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules(
    texts: Iterable[str], root: Path, inside: str = "", beside: Path | None = None
) -> dict[str, Path]:
    """Modules that texts import, directly or through one another, at any place in them.

    Args:
        texts: Python texts.
        root: Folder that holds the package ``lib``.
        inside: Dotted name of the package that the texts lie in, for their relative imports.
        beside: Folder of a user's own modules, which count as those of ``lib`` do.

    Returns:
        Path by dotted name, packages included. Imports by a name computed at run time are not seen.

    Raises:
        ValueError: A text does not parse.
    """
    found: dict[str, Path] = {}
    asked: set[str] = set()  # many texts import the same, and looking for files is most of the work
    todo = [(inside, text) for text in texts]
    while todo:
        for name in _imported(*todo.pop()):
            parts = name.split(".")
            folder = root if parts[0] == PACKAGE else beside
            for k in range(1, len(parts) + 1) if folder else ():
                dotted, base = ".".join(parts[:k]), folder.joinpath(*parts[:k])
                if dotted in asked:
                    continue
                asked.add(dotted)
                path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
                if path.is_file():
                    found[dotted] = path
                    package = dotted if base.is_dir() else ".".join(parts[: k - 1])
                    todo.append((package, path.read_text("utf-8")))
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=256)  # asked for again before and after every chunk
def _imported(inside: str, text: str) -> tuple[str, ...]:
    """Dotted names that a text may import; ``inside`` is the package it lies in."""
    package, found = inside.split("."), []
    for node in ast.walk(_parsed(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{stem}.{alias.name}" for alias in node.names]
    return tuple(found)


def _parsed(text: str | bytes) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"does not parse: {error}") from None


@functools.lru_cache(maxsize=256)
def meaning(text: bytes) -> str:
    """SHA-256 of what a module's text does: its syntax tree without comments, layout and docstrings.

    Raises:
        ValueError: The text does not parse.
    """
    tree = _parsed(text)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
