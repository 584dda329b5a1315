"""Finished chunks on disk: what their key holds, damage, a full disk."""

import errno
import os
import sys
from pathlib import Path

import jobs
import numpy as np
import pytest

from lib import nets
from lib.ensembles import ensemble, store

CONFIG = {"n": 4, "rates": [[3, 0.1]]}
CHUNK = {"a": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([True, False, True])}


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


# Keys


@pytest.mark.parametrize(
    "job, config",
    [(jobs.toy, {"n": 4, "rates": [[3, 0.2]]}), (jobs.toy, {**CONFIG, "more": None}), (jobs.wrong, CONFIG)],
    ids=["a value", "an entry", "the job"],
)
def test_a_key_changes_with_job_and_configuration(job, config):
    assert store.key(store.code(job), config) != store.key(store.code(jobs.toy), CONFIG)


def test_equal_configurations_share_a_key():
    assert store.key(store.code(jobs.toy), CONFIG) == store.key(
        store.code(jobs.toy), {"rates": ((3, 0.1),), "n": 4}
    )


@pytest.mark.parametrize(
    "owner, name, value",
    [
        (store.platform, "python_version", lambda: "3.0.0"),
        (store.importlib.metadata, "version", lambda name: f"{name} 0"),
        (store, "processor", lambda: "another"),
    ],
    ids=["Python", "packages", "processor"],
)
def test_a_key_changes_with_versions_and_processor(owner, name, value, monkeypatch):
    before = store.key(store.code(jobs.toy), CONFIG)
    monkeypatch.setattr(owner, name, value)
    assert store.key(store.code(jobs.toy), CONFIG) != before


def test_a_processor_is_named_where_the_system_has_no_list(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(store.platform, "processor", lambda: "some processor")
    assert store.processor() == "some processor"


def test_seeds_and_their_order_name_the_file():
    names = {
        store.digest("k", [0, 1]),
        store.digest("k", [1, 0]),
        store.digest("k", [0]),
        store.digest("j", [0]),
    }
    assert len(names) == 4
    assert (
        store.path("k", range(2))
        == store.path("k", [0, 1])
        == store.folder() / (store.digest("k", [0, 1]) + ".chunk")
    )


def test_a_key_holds_the_code_of_the_job_and_of_what_it_imports(tmp_path, monkeypatch):
    """Directly, through another module, as a bare constant, or inside a function."""
    sources = {
        "lib/__init__.py": "",
        "lib/deep.py": "LIMIT = 1\n",
        "lib/late.py": "VALUE = 1\n",
        "lib/rule.py": "from lib.deep import LIMIT\n",
        "lib/idle.py": "def idle():\n    return 1\n",
        "toy_job.py": "from lib import rule\n\ndef job(config, seeds):\n    from lib.late import VALUE\n",
    }
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(store, "ROOT", tmp_path)

    class Job:  # in place of a module: nothing here is run
        __file__ = str(tmp_path / "toy_job.py")

    def job(config, seeds):
        raise NotImplementedError

    job.__module__, job.__qualname__ = "toy_job", "job"
    monkeypatch.setitem(sys.modules, "toy_job", Job)

    def key():
        for name, source in sources.items():
            (tmp_path / name).write_text(source)
        code[:] = store.code(job)
        return store.key(code, CONFIG)

    code = []
    keys = [key()]
    assert [name for name, _ in code[1]] == ["lib.deep", "lib.late", "lib.rule", "toy_job"]
    sources["lib/idle.py"] += "# not used by the job\n"
    assert key() == keys[0]
    for name in ("lib/deep.py", "lib/late.py", "lib/rule.py", "toy_job.py", "lib/__init__.py"):
        sources[name] += "# a word more\n"
        keys.append(key())
    assert len(set(keys)) == 6


def test_a_key_holds_what_a_module_of_the_library_imports():
    names = {name for name, _ in store.code(nets.truncated_normal)[1]}
    assert names == {"lib", "lib.nets", "lib.backend"}


@pytest.mark.parametrize("config", [{"n": {4}}, {"n": np.int64(4)}, {"n": np.zeros(2)}, {"n": b"4"}])
def test_a_configuration_that_is_not_plain_data_is_refused(config):
    with pytest.raises(ValueError, match="config must be plain data"):
        store.key(store.code(jobs.toy), config)


def test_a_job_that_no_worker_can_import_is_refused(monkeypatch):
    def local(config, seeds):
        return {}

    for job in (local, lambda config, seeds: {}, store.json.JSONEncoder(), print):
        with pytest.raises(ValueError, match="job must be a function of an importable module, got <"):
            store.code(job)
    local.__module__, local.__qualname__ = "__main__", "job"  # as in a notebook
    with pytest.raises(ValueError, match="job must be a function of an importable module"):
        store.code(local)


# Files


@pytest.mark.parametrize(
    "chunk", [CHUNK, {"a": np.zeros((0, 3))}, {"a": np.float64(2)}, {"a": np.array([np.nan, -np.inf, -0.0])}]
)
def test_what_is_written_is_read(chunk, tmp_path):
    path = tmp_path / "deep" / "x.chunk"
    store.write(path, chunk)
    back = store.read(path)
    assert back.keys() == chunk.keys()
    for name, value in chunk.items():
        assert back[name].tobytes() == value.tobytes()
        assert (back[name].shape, back[name].dtype) == (value.shape, value.dtype)
    assert list(path.parent.iterdir()) == [path]


def test_a_chunk_is_replaced_whole(tmp_path):
    path = tmp_path / "x.chunk"
    store.write(path, {"a": np.zeros(1000)})
    store.write(path, CHUNK)
    assert equal(store.read(path), CHUNK)


def test_no_chunk_is_nothing(tmp_path):
    assert store.read(tmp_path / "x.chunk") is None
    assert store.read(tmp_path / "none" / "x.chunk") is None
    assert store.read(tmp_path) is None


def test_damaged_chunks_are_nothing(tmp_path):
    path = tmp_path / "x.chunk"
    store.write(path, CHUNK)
    whole = path.read_bytes()
    damaged = [b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", b"\0" * len(whole), b"not a chunk"]
    for k in range(len(whole)):
        damaged.append(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
    for content in damaged:
        path.write_bytes(content)
        assert store.read(path) is None
    path.write_bytes(whole)
    assert equal(store.read(path), CHUNK)


def test_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        store.write(tmp_path / "x.chunk", {"a": np.array([{}])})
    assert list(tmp_path.iterdir()) == []


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_written(handle, mode):
    with open(handle, mode) as file:
        file.write(b"half")
    full()


@pytest.mark.parametrize(
    "owner, name, value",
    [(os, "replace", full), (store.tempfile, "mkstemp", full), (os, "fdopen", half_written)],
    ids=["replace", "mkstemp", "write"],
)
def test_a_full_disk_leaves_the_old_chunk_and_no_half_file(owner, name, value, tmp_path, monkeypatch):
    path = tmp_path / "x.chunk"
    store.write(path, CHUNK)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, value)
        with pytest.raises(OSError, match="cannot keep finished chunks.*SGD_BOOK_CHUNKS") as caught:
            store.write(path, {"a": np.zeros(3)})
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert equal(store.read(path), CHUNK)


def test_an_interruption_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(tmp_path / "x.chunk", CHUNK)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    place = tmp_path / "chunks"
    place.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot keep finished chunks") as caught:
        store.write(place / "x.chunk", CHUNK)
    assert caught.value.filename == str(place)


def test_the_folder_is_in_the_build_tree_or_where_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path))
    assert store.folder() == tmp_path
    for unset in (
        lambda: monkeypatch.setenv("SGD_BOOK_CHUNKS", ""),
        lambda: monkeypatch.delenv("SGD_BOOK_CHUNKS"),
    ):
        unset()
        assert store.folder() == Path(ensemble.__file__).resolve().parents[2] / "_build" / "chunks"


# Where chunks come from


def test_a_chunk_of_this_run_is_told_from_one_that_was_kept(tmp_path, monkeypatch):
    for name in ("_written", "_found"):
        monkeypatch.setattr(store, name, set())
    assert store.origins() == {"computed": 0, "kept": 0}
    mine, old = tmp_path / "mine.chunk", tmp_path / "old.chunk"
    store.write(mine, CHUNK)
    old.write_bytes(mine.read_bytes())
    for path in (mine, old, old):
        assert equal(store.read(path), CHUNK)
    assert store.origins() == {"computed": 1, "kept": 1}
    old.write_bytes(b"damaged")
    (tmp_path / "gone.chunk").unlink(missing_ok=True)
    assert store.read(old) is None and store.read(tmp_path / "gone.chunk") is None
    store.write(old, CHUNK)
    assert store.origins() == {"computed": 2, "kept": 1}
