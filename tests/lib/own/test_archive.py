"""A reader's own images: what is taken, and each fault told in one error before anything else."""

import numpy as np
import pytest

from lib.own import archive
from lib.own.archive import ArchiveError


def good(count=6, **change):
    rng = np.random.default_rng(0)
    found = {
        "x_train": rng.integers(256, size=(count, 4, 4), dtype=np.uint8),
        "y_train": np.arange(count) % 3,
        "x_test": rng.integers(256, size=(4, 4, 4), dtype=np.uint8),
        "y_test": np.array([0, 1, 2, 1]),
    }
    return {name: value for name, value in (found | change).items() if value is not None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


def test_images_are_read(path):
    np.savez(path, **good())
    found = archive.read(path)
    assert found.x_train.shape == (6, 4, 4, 1) and found.x_train.dtype == np.float32 and found.classes == 3
    np.testing.assert_array_equal(found.x_train[..., 0], good()["x_train"])
    np.savez(path, **good(y_train=np.arange(6)[:, None] % 3.0))
    again = archive.read(path)  # the file was changed; its content was not
    assert again.content == found.content
    np.savez(path, **good(x_train=np.zeros((6, 4, 4))))
    assert archive.read(path).content != found.content


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((6, 16), (6, 4, 4, 1)), ((6, 7), (6, 1, 7, 1)), ((6, 4, 5, 3), (6, 4, 5, 3))],
)
def test_shapes_of_images(path, shape, wanted):
    np.savez(path, **good(x_train=np.ones(shape), x_test=np.ones((4, *shape[1:]))))
    assert archive.read(path).x_train.shape == wanted


NAN = np.ones((6, 4, 4))
NAN[2, 1, 1] = np.nan
RAGGED = np.array([np.ones((4, 4)), None], dtype=object)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y_test": None}, r"no y_test; it has x_train, y_train, x_test, wanted x_train"),
        ({"x_train": np.ones(6)}, r"x_train must be \(N, H, W\).* got \(6,\)"),
        ({"x_test": np.ones((4, 5, 4))}, r"images of x_train are \(4, 4, 1\), those of x_test \(5, 4, 1\)"),
        ({"y_train": np.arange(5)}, r"y_train must be \(6,\), one label for each image, got \(5,\)"),
        ({"y_train": np.eye(6)[:, :3]}, r"got \(6, 3\); of one-hot rows take y.argmax"),
        ({"x_train": np.ones((6, 1, 8, 8))}, r"x_train has its channels first, \(6, 1, 8, 8\)"),
        ({"x_train": NAN}, "x_train holds NaN or infinity in 1 images, the first 2"),
        ({"x_train": RAGGED}, "x_train is an array of objects, which would have to be executed"),
        ({"x_train": np.full((6, 4, 4), "a")}, "x_train must hold numbers, got <U1"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, "labels out of range: y_train .* got -1 to 2"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 1.5])}, "labels out of range: y_train"),
        ({"y_train": np.array([0, 1, 2, 0, 1, np.nan])}, "labels out of range: y_train"),
        ({"y_train": np.array([0, 1, 3, 0, 1, 3])}, "each class from 0 to 3, it has no 2"),
        ({"y_test": np.array([0, 1, 2, 3])}, "labels out of range: .* classes 0 to 2, y_test goes up to 3"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(4, int)}, "at least two classes"),
    ],
)
def test_each_fault_is_told(path, change, said):
    np.savez(path, **good(**change))
    with pytest.raises(ArchiveError, match=said) as raised:
        archive.read(path)
    assert "\n" not in str(raised.value)


def test_what_is_no_file_of_images(path):
    with pytest.raises(ArchiveError, match="no such file"):
        archive.read(path)
    path.write_text("hello")
    with pytest.raises(ArchiveError, match="no .npz file"):
        archive.read(path)
    np.savez(path, **good())
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"0" * 300 + whole[500:])
    with pytest.raises(ArchiveError, match="damaged"):
        archive.read(path)
