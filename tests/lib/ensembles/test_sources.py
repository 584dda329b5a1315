"""Imports are followed through every form, and through the modules that they reach."""

from pathlib import Path

import pytest
import toy_book

from lib.ensembles import sources

ROOT = Path(sources.__file__).parents[2]


def test_imports_of_every_form_are_followed(tmp_path):
    toy_book.library(tmp_path)
    deep = ["lib", "lib.deep", "lib.deep.beside", "lib.deep.deepest", "lib.far", "lib.last", "lib.near"]

    def names(*texts, **inside):
        return list(sources.modules(texts, tmp_path, **inside))

    assert names("import os\nfrom lib import near, NAME", "x = 1") == deep
    assert names("def f():\n    if x:\n        import lib.near as n") == deep
    assert names("import lib.unrelated") == names("from lib.unrelated import Y") == ["lib", "lib.unrelated"]
    assert names("from .beside import x", inside="lib.deep") == deep[:3]
    assert names("from ..last import x", inside="lib.deep") == ["lib", "lib.last"]
    assert names("import library, os.path\nfrom . import near\nfrom lib2.near import x") == []
    assert sources.modules(["import lib.last"], tmp_path)["lib.last"] == tmp_path / "lib" / "last.py"


def test_a_text_that_does_not_parse_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not parse"):
        sources.modules(["x = 1", "def"], tmp_path)


def test_the_real_library_is_reached_whole_from_a_text_that_imports_it_whole():
    paths = sorted((ROOT / "lib").rglob("*.py"))
    names = (path.relative_to(ROOT).with_suffix("").parts for path in paths)
    text = "\n".join("import " + ".".join(name) for name in names if name[-1] != "__init__")
    assert sorted(sources.modules([text], ROOT).values()) == paths
