"""MNIST: every form it comes in, every way it can be missing or wrong, splits and scalings."""

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_mnist import OTHER, TOY, idx, npz, same, settle

from lib import data


@pytest.fixture(scope="session")
def mnist() -> data.Mnist:
    return data.load()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    yield settle(monkeypatch, tmp_path)
    data._read_once.cache_clear()


def put(place: Path, blobs: dict[str, bytes]) -> Path:
    """Lay files into a new folder."""
    place.mkdir(parents=True)
    for name, blob in blobs.items():
        (place / name).write_bytes(blob)
    return place


# --- forms ---

LABELS = {"y_train": TOY.y_train.astype(np.int64), "y_test": TOY.y_test.astype(np.int64)}
FILES = {
    "ours": npz(),
    "Keras's": npz(images=(28, 28)),
    "with one more axis": npz(images=(28, 28, 1)),
    "labels of 64 bits": npz(TOY._replace(**LABELS)),
    "floats": npz(TOY._replace(x_test=TOY.x_test.astype(np.float64))),
    "something more in it": npz(names=np.arange(10)),
}
FOLDERS = {
    "with the .npz": {"mnist.npz": npz()},
    "plain": idx(),
    "gzipped": {f"{name}.gz": gzip.compress(blob) for name, blob in idx().items()},
    "Kaggle's names": {name.replace("-idx", ".idx"): blob for name, blob in idx().items()},
}


@pytest.mark.parametrize("form", FILES | FOLDERS)
def test_each_form_gives_the_same_content_read_only(form, tmp_path, cache, monkeypatch):
    place = put(tmp_path / "given", FOLDERS.get(form) or {"file": FILES[form]})
    monkeypatch.setenv("SGD_BOOK_MNIST", str(place if form in FOLDERS else place / "file"))
    m = data.load()
    assert same(m)
    assert not any(a.flags.writeable for a in m)
    assert not cache.exists()


flipped = bytearray(npz())
flipped[1000] ^= 1
BAD = {
    "empty": (b"", "no .npz file"),
    "text": (b"<html>Not found</html>", "no .npz file"),
    "truncated": (npz()[:-2000], "only a part of one"),
    "altered": (bytes(flipped), "CRC"),
    "swapped": (npz(OTHER), "content has sha256"),
    "wrong members": (npz().replace(b"x_test", b"x_misc"), "no x_test among its members .*x_misc"),
    "wrong shape": (npz(TOY._replace(x_test=TOY.x_test[:1])), r"x_test: expected \(2, 784\), .*\(1, 784\)"),
    "no axes": (npz(TOY._replace(y_test=np.array(7))), r"y_test: expected \(2,\), .* found int64 \(\)"),
    "overflow": (npz(TOY._replace(y_test=TOY.y_test + np.int64(256))), "y_test: .* found int64"),
    "fractions": (npz(TOY._replace(x_test=TOY.x_test / 256)), "x_test: .* found float64"),
    "NaN": (npz(TOY._replace(x_test=TOY.x_test * np.nan)), "x_test: .* found float64"),
    "words": (npz(TOY._replace(y_test=np.array(["seven", "two"]))), "not MNIST"),
    "objects": (npz(TOY._replace(y_test=np.array([{}, {}]))), "allow_pickle"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("explicit", [True, False])
def test_a_bad_file_is_named_with_what_is_wrong_and_what_to_do(case, explicit, tmp_path, cache, monkeypatch):
    blob, why = BAD[case]
    path = put(cache.parent, {"mnist.npz": blob}) / "mnist.npz"
    if explicit:
        monkeypatch.setenv("SGD_BOOK_MNIST", str(path))
    with pytest.raises(data.DataError, match=why) as caught:
        data.load()
    said = str(caught.value)
    assert said.startswith(f"SGD_BOOK_MNIST={path}: " if explicit else f"no MNIST in the cache, {path}: ")
    assert ("unset it" in said) is explicit
    assert "sgd-book data fetch" in said and "\n" not in said
    assert path.read_bytes() == blob


def test_data_that_is_not_there_is_one_line(cache, tmp_path, monkeypatch):
    with pytest.raises(
        data.DataError, match="mnist.npz: no such file. Run .*or set SGD_BOOK_MNIST to a copy"
    ):
        data.load()
    assert not cache.parent.exists()
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (("nowhere", "no such file"), ("loop", "symbolic links")):
        monkeypatch.setenv("SGD_BOOK_MNIST", str(tmp_path / name))
        with pytest.raises(data.DataError, match=f"{name}: .*{why}"):
            data.load()


def test_of_a_folder_the_file_that_is_wrong_is_named(tmp_path, cache, monkeypatch):
    last = "t10k-labels-idx1-ubyte"
    place = put(tmp_path / "given", dict(list(idx().items())[:3]))
    monkeypatch.setenv("SGD_BOOK_MNIST", str(place))
    with pytest.raises(data.DataError, match=f"no mnist.npz and no {last}"):
        data.load()
    for blob, why in (
        (b"\0\0\x08\x01\0\0\0\x02\x07", "9 bytes, expected 10"),
        (gzip.compress(b"")[:9], "gzip|ended"),
    ):
        (place / last).write_bytes(blob)
        with pytest.raises(data.DataError, match=f"{last}: .*({why})"):
            data.load()


def test_the_data_is_read_once_in_a_process_and_a_failure_is_not_kept(cache):
    with pytest.raises(data.DataError):
        data.load()
    put(cache.parent, {"mnist.npz": npz()})
    first = data.load()
    cache.unlink()
    assert data.load() is first


def test_where_the_data_lies(tmp_path, monkeypatch):
    names = ("HOME", "XDG_CACHE_HOME", "SGD_BOOK_MNIST", "SGD_BOOK_CACHE")

    def place(**env):
        for name in names:
            monkeypatch.setenv(name, env.get(name, str(tmp_path) if name == "HOME" else ""))
        return data.place()

    default = tmp_path / ".cache" / "sgd-book" / "mnist.npz"
    assert place() == place(XDG_CACHE_HOME="relative") == default
    assert place(XDG_CACHE_HOME="/x") == Path("/x/sgd-book/mnist.npz")
    assert place(XDG_CACHE_HOME="/x", SGD_BOOK_CACHE="/c") == Path("/c/mnist.npz")
    assert place(SGD_BOOK_CACHE="~/c") == tmp_path / "c" / "mnist.npz"
    assert place(SGD_BOOK_CACHE="/c", SGD_BOOK_MNIST="/m") == Path("/m")


# --- any damage ---

DAMAGED = {f"file {k}": {"file": v} for k, v in FILES.items()} | {
    f"folder {k}": v for k, v in FOLDERS.items()
}


@st.composite
def damaged(draw):
    """One of the forms, after something has happened to one of its files."""
    form = draw(st.sampled_from(sorted(DAMAGED)))
    name = draw(st.sampled_from(sorted(DAMAGED[form])))
    blob = bytearray(DAMAGED[form][name])
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
    return form, {k: v for k, v in (DAMAGED[form] | {name: blob}).items() if v is not None}


@given(damaged())
def test_a_damaged_file_is_one_clear_error_or_the_right_data(case):
    """Right data: some damage does not touch the content, as a bit in a zip archive's date."""
    form, blobs = case
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        settle(patch, Path(folder))
        path = put(Path(folder, "given"), blobs) / ("file" if form.startswith("file ") else "")
        try:
            found = data.read(path)
        except data.DataError as error:
            assert "\n" not in str(error)
        else:
            assert same(found)


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
