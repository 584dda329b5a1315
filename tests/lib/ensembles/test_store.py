"""Finished chunks on disk: what their key holds, damage, a full disk."""

import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import time
import zipfile
from pathlib import Path

import jobs
import numpy as np
import pytest
from alike import same

from lib import nets
from lib.ensembles import ensemble, store

CONFIG = {"n": 4, "rates": [[3, 0.1]]}
CHUNK = {"a": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([True, False, True])}


def named(key="k", seeds=(0, 1)):
    return store.Chunk(key, seeds)


@pytest.fixture(autouse=True)
def place(chunks):
    """The folder of chunks."""
    return chunks


# Keys


def key(job=jobs.toy, config=CONFIG, chunk=4, before=None):
    return store.key(store.code(job), config, chunk, before)


def test_a_key_changes_with_all_that_can_change_a_chunk():
    keys = {
        key(), key(config={"n": 4, "rates": [[3, 0.2]]}), key(config={**CONFIG, "more": None}),
        key(jobs.wrong),
        key(chunk=5), key(before=named()), key(before=named("j")), key(before=named(seeds=(0,))),
    }  # fmt: skip
    assert len(keys) == 8
    assert key() == key(config={"rates": ((3, 0.1),), "n": 4})


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (store.machine.platform, "python_version", lambda: "3.0.0"),
        (store.machine, "version", lambda name: f"{name} 0"),
        (store.machine, "version", lambda name: "0" if name == "scipy" else "1"),
        (store.machine, "_processor", lambda: "another"),
        (store.machine, "variables", lambda: "TF_ENABLE_ONEDNN_OPTS=0"),
    ],
    ids=["Python", "packages", "SciPy", "processor", "variables"],
)
def test_a_key_changes_with_what_computes(owner, name, value, monkeypatch):
    before = key()
    monkeypatch.setattr(owner, name, value)
    assert key() != before


def test_seeds_and_their_order_name_the_file(place):
    chunks = [named(), named(seeds=(1, 0)), named(seeds=(0,)), named("j")]
    assert len({chunk.digest for chunk in chunks}) == 4
    assert named().path == place / f"{named().digest}.chunk"


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Files of a job and of what it imports, in one way or another; and the job's code, read anew."""
    texts = {
        "lib/__init__.py": "",
        "lib/deep.py": "LIMIT = 1\n",
        "lib/late.py": "VALUE = 1\n",
        "lib/rule.py": '"""Rules."""\nfrom lib.deep import LIMIT\n',
        "lib/idle.py": "def idle():\n    return 1\n",
        "mine/beside.py": "X = 1\n",
        "mine/toy_job.py": "import beside\nfrom lib import rule\n\n"
        'def job(config, seeds):\n    """A job."""\n    from lib.late import VALUE\n',
    }
    for folder in ("lib", "mine"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(store, "ROOT", tmp_path)

    class Job:  # in place of a module: nothing here is run
        __file__ = str(tmp_path / "mine/toy_job.py")

    def job(config, seeds):
        raise NotImplementedError

    job.__module__, job.__qualname__ = "toy_job", "job"
    monkeypatch.setitem(sys.modules, "toy_job", Job)

    def hashes():
        for name, text in texts.items():
            path = tmp_path / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
        store.loaded.TEXTS.pop("toy_job", None)
        return store.hashes(job)

    monkeypatch.delitem(sys.modules, "lib")  # the files of another library stand in its place
    return texts, hashes


def test_a_key_holds_the_code_of_the_job_and_of_what_it_imports(sources):
    """Directly, through another module, as a constant, inside a function, or from the job's own folder."""
    texts, hashes = sources
    found = [hashes()]
    assert list(found[0]) == ["beside", "lib", "lib.deep", "lib.late", "lib.rule", "toy_job"]
    texts["lib/idle.py"] += "x = 1  # not used by the job\n"
    assert hashes() == found[0]
    for name in texts.keys() - {"lib/idle.py"}:
        texts[name] += "x = 1\n"
        found.append(hashes())
    assert len({str(each) for each in found}) == 7


def test_what_a_job_imports_is_looked_for_again_after_an_edit_alone(sources, monkeypatch):
    texts, hashes = sources
    asked, found = [], store.sources.modules
    monkeypatch.setattr(store.sources, "modules", lambda *given: asked.append(given) or found(*given))
    assert hashes() == hashes() and len(asked) == 1
    texts["lib/deep.py"] += "from lib import idle\n"
    assert "lib.idle" in hashes() and len(asked) == 2


def test_comments_docstrings_and_layout_change_no_key(sources):
    texts, hashes = sources
    found = hashes()
    texts["lib/deep.py"] = '"""Deep."""\n\n\nLIMIT = (\n    1\n)  # a word more\n'
    texts["lib/rule.py"] = texts["lib/rule.py"].replace("Rules.", "Other words.")
    texts["mine/toy_job.py"] = texts["mine/toy_job.py"].replace("A job.", "The job.")
    assert hashes() == found
    texts["lib/deep.py"] = "LIMIT = 1.0\n"
    assert hashes() != found


def test_a_key_holds_what_a_module_of_the_library_imports():
    assert {*store.hashes(nets.truncated_normal)} >= {"lib", "lib.loaded", "lib.nets", "lib.backend"}


def test_a_module_edited_since_its_import_is_refused(monkeypatch):
    text = Path(jobs.__file__).read_bytes()
    monkeypatch.setitem(store.loaded.TEXTS, "jobs", text + b"# a word more\n")
    before = key()
    monkeypatch.setitem(store.loaded.TEXTS, "jobs", text + b"x = 1\n")
    with pytest.raises(store.Changed, match="jobs was imported as another text than jobs.py has.*restart"):
        key()
    monkeypatch.setitem(store.loaded.TEXTS, "jobs", text)
    assert key() == before


@pytest.mark.parametrize("config", [{"n": {4}}, {"n": np.int64(4)}, {"n": np.zeros(2)}, {"n": b"4"}])
def test_a_configuration_that_is_not_plain_data_is_refused(config):
    with pytest.raises(ValueError, match="config must be plain data"):
        key(config=config)


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
def test_what_is_written_is_read(chunk, place):
    store.write(named(), chunk)
    back = store.read(named())
    assert back.keys() == chunk.keys()
    for name, value in chunk.items():
        assert back[name].tobytes() == value.tobytes()
        assert (back[name].shape, back[name].dtype) == (value.shape, value.dtype)
    assert list(place.iterdir()) == [named().path]


def test_a_chunk_is_replaced_whole():
    store.write(named(), {"a": np.zeros(1000)})
    store.write(named(), CHUNK)
    assert same(store.read(named()), CHUNK)


def test_no_chunk_is_nothing(place):
    assert store.read(named()) is None
    named().path.mkdir(parents=True)
    assert store.read(named()) is None


def test_another_chunk_in_its_place_is_nothing(place):
    """Whole as it is: of another key, of other seeds, or no chunk of ours at all."""
    others = named("j"), named(seeds=(1, 0)), named(seeds=(0,))
    for chunk in (named(), *others):
        store.write(chunk, CHUNK)
    for other in others:
        shutil.copy(other.path, named().path)
        assert store.read(named()) is None and store.read(other) is not None
    for content in (b"no archive", pickle.dumps({"a": 1})):
        named().path.write_bytes(hashlib.sha256(content).digest() + content)
        assert store.read(named()) is None
    buffer = io.BytesIO()
    np.savez(buffer, other=np.array([{}]))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = json.dumps(named()).encode()
    named().path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    assert store.read(named()) is None, "NumPy's advice to load it unsafely is not passed on"


def test_damaged_chunks_are_nothing(place):
    path = named().path
    store.write(named(), CHUNK)
    whole = path.read_bytes()
    damaged = [b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", b"\0" * len(whole), b"not a chunk"]
    for k in range(len(whole)):
        damaged.append(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
    for content in damaged:
        path.write_bytes(content)
        assert store.read(named()) is None
    path.write_bytes(whole)
    assert same(store.read(named()), CHUNK)


def test_objects_are_not_written(place):
    with pytest.raises(ValueError, match="Object arrays"):
        store.write(named(), {"a": np.array([{}])})
    assert not place.exists()


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_written(path, mode):
    with open(path, mode) as file:
        file.write(b"half")
    full()


@pytest.mark.parametrize(
    "owner, name, value",
    [(os, "replace", full), (store, "open", full), (store, "open", half_written)],
    ids=["replace", "open", "write"],
)
def test_a_full_disk_leaves_the_old_chunk_and_no_half_file(owner, name, value, place, monkeypatch):
    store.write(named(), CHUNK)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, value, raising=False)
        with pytest.raises(OSError, match="cannot keep finished chunks.*SGD_BOOK_CHUNKS") as caught:
            store.write(named(), {"a": np.zeros(3)})
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(place)
    assert list(place.iterdir()) == [named().path]
    assert same(store.read(named()), CHUNK)


def test_an_interruption_leaves_no_half_file(place, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(named(), CHUNK)
    assert list(place.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(place):
    place.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot keep finished chunks") as caught:
        store.write(named(), CHUNK)
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


# Where chunks come from, and where they go


def test_a_chunk_of_this_run_is_told_from_one_that_was_kept(monkeypatch):
    for name in ("_written", "_found"):
        monkeypatch.setattr(store, name, set())
    assert store.origins() == {"computed": 0, "kept": 0}
    mine, old = named("mine"), named("old")
    store.write(old, CHUNK)
    store._written.clear()
    store.write(mine, CHUNK)
    for chunk in (mine, old, old):
        assert same(store.read(chunk), CHUNK)
    assert store.origins() == {"computed": 1, "kept": 1}
    old.path.write_bytes(b"damaged")
    assert store.read(old) is None and store.read(named("gone")) is None
    store.write(old, CHUNK)
    assert store.origins() == {"computed": 2, "kept": 1}


def test_what_nobody_used_for_a_month_goes_and_so_does_what_killed_writers_left(place):
    day = 24 * 3600
    ages = {"old.chunk": 31, "young.chunk": 29, "killed.part": 2, "alive.part": 0.1, "other.txt": 99}
    store.write(named(), CHUNK)
    for name, days in ages.items():
        (place / name).touch()
        os.utime(place / name, (time.time() - days * day,) * 2)
    os.utime(named().path, (0, 0))
    store.read(named())  # now it is in use
    store.clean(place)
    assert {p.name for p in place.iterdir()} == {"young.chunk", "alive.part", "other.txt", named().path.name}
    store.clean(place / "none")
