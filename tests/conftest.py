"""What several test files share: the book that the browser reads."""

from pathlib import Path

import pytest
import toy_book


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--book FOLDER``: read these built pages in the browser instead of a toy book's."""
    parser.addoption("--book", type=Path, help="folder of built pages for tests/test_pages.py")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A toy book run, recorded and built at both scales."""
    from lib import book  # here, so that a test which does without it need not wait for its imports

    chapter = toy_book.chapter("print('secret')", "print('folded')", "print('shown')")
    for cell, tag in zip(chapter.cells[3:5], ("remove-cell", "hide-input"), strict=True):
        cell.metadata["tags"] = [tag]
    root = toy_book.project(tmp_path_factory.mktemp("built") / "book", toy=chapter)
    for command in ("run", "record", "build", "build --preview", "gate", "gate --preview"):
        assert book.main(command.split(), root) == 0, command
    return root
