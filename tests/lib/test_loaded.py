"""What a process runs is the text that it keeps."""

import importlib
import os
import py_compile
import sys

from lib import loaded, nets


def test_what_is_imported_is_compiled_from_the_text_that_is_kept(tmp_path, monkeypatch):
    """Python's own cache may hold the code of an older text of the same second and length."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "twin.py"
    path.write_text("X = 1\n")
    import twin

    stamp = path.stat()
    py_compile.compile(path)
    path.write_text("X = 2\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    importlib.reload(twin)
    assert (twin.X, loaded.TEXTS["twin"]) == (2, b"X = 2\n")
    del sys.modules["twin"], loaded.TEXTS["twin"]


def test_modules_of_this_library_are_kept_and_installed_ones_are_not():
    with open(nets.__file__, "rb") as file:
        assert loaded.TEXTS["lib.nets"] == file.read()
    assert not any(name.startswith(("numpy", "tensorflow", "json")) for name in loaded.TEXTS)
    before = list(sys.meta_path)
    loaded.watch()
    assert sys.meta_path == before, "once is enough"
