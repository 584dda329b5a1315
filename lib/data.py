"""MNIST: read, checked, split, scaled.

It lies where ``SGD_BOOK_MNIST`` says, else in this project's cache: ``mnist.npz`` in ``SGD_BOOK_CACHE``
(default ``~/.cache/sgd-book``), which `book.fetch` fills. Nothing here looks elsewhere: how the data came is
no part of a chapter's results. It is accepted only if its pixels and labels have one known hash.

MNIST is by Yann LeCun and Corinna Cortes, under CC BY-SA 3.0.
"""

import functools
import gzip
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

CLASSES = 10
CONTENT_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
FORMS = "an mnist.npz as Keras has it, or a folder with that or with the four IDX files"

_COUNTS = (60_000, 10_000)  # images to train and to test
_IDX_FILES = tuple(f"{a}-{b}-ubyte" for a in ("train", "t10k") for b in ("images-idx3", "labels-idx1"))


class Mnist(NamedTuple):
    """The 70000 images and labels, in the order of the original files, read-only.

    Attributes:
        x_train: uint8 (60000, 784), pixels 0 (white) to 255 (black), row by row.
        y_train: uint8 (60000,), digits 0 to 9.
        x_test: uint8 (10000, 784).
        y_test: uint8 (10000,).
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


Pair = tuple[np.ndarray, np.ndarray]


class Split(NamedTuple):
    """Three pairs (images uint8 (N, 784), labels uint8 (N,))."""

    train: Pair
    validation: Pair
    test: Pair


class DataError(RuntimeError):
    """The data cannot be had, or not be kept; the message says why. Notebooks show no stack."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def load() -> Mnist:
    """Give MNIST, checked; it is read once in a process.

    Returns:
        The four arrays, read-only, with ``content_hash(...) == CONTENT_SHA256``.

    Raises:
        DataError: It is not where it should be, or damaged, or something else; says what to do.
    """
    path = place()
    try:
        return _read_once(path)
    except DataError as e:
        if os.environ.get("SGD_BOOK_MNIST"):
            said = f"SGD_BOOK_MNIST={path}: {e}. Name {FORMS}, or unset it and run `sgd-book data fetch`."
            raise DataError(said) from None
        raise DataError(
            f"no MNIST in the cache, {path}: {e}. Run `sgd-book data fetch` once, "
            f"or set SGD_BOOK_MNIST to a copy: {FORMS}."
        ) from None


def place() -> Path:
    """Say where the data is used from: ``SGD_BOOK_MNIST``, else the cache file."""
    env = os.environ
    if explicit := env.get("SGD_BOOK_MNIST"):
        return Path(explicit).expanduser().absolute()
    if folder := env.get("SGD_BOOK_CACHE"):
        return Path(folder).expanduser().absolute() / "mnist.npz"
    base = env.get("XDG_CACHE_HOME", "")
    # A relative path there is to be ignored, by the XDG specification.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "sgd-book" / "mnist.npz"


def read(path: Path) -> Mnist:
    """Read the data and compare its hash.

    Args:
        path: An ``.npz`` with the four arrays by name, or a folder with ``mnist.npz`` in it, or with the four
            original IDX files (also as ``train-images.idx3-ubyte``), each gzipped or not.

    Returns:
        The four arrays, read-only.

    Raises:
        DataError: Nothing is there, or it is damaged or not MNIST.
    """
    try:
        if path.is_dir() and not (path / "mnist.npz").exists():
            return accept(_idx(path, *file) for file in zip(_IDX_FILES, _shapes(), strict=True))
        with open(path / "mnist.npz" if path.is_dir() else path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("no .npz file (a zip archive), or only a part of one")
            file.seek(0)
            with np.load(file, allow_pickle=False) as z:
                if missing := [name for name in Mnist._fields if name not in z.files]:
                    raise ValueError(f"no {', '.join(missing)} among its members {', '.join(z.files)}")
                return accept(z[name] for name in Mnist._fields)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("no such file") from None
    except Exception as e:  # what damaged zip and NumPy files raise is no closed list
        raise DataError(f"damaged or not MNIST: {why(e)}") from e


def why(e: Exception) -> str:
    """What an exception says, in one line."""
    return (isinstance(e, OSError) and e.strerror) or " ".join(str(e).split()) or type(e).__name__


_read_once = functools.lru_cache(maxsize=1)(read)


def accept(arrays: Iterable[np.ndarray]) -> Mnist:
    """Make the four arrays what `Mnist` says, and compare their hash.

    Args:
        arrays: In the order of `Mnist`, of any type that holds whole numbers; an image in any shape.

    Returns:
        The data, read-only.

    Raises:
        DataError: An array is of another size or holds other numbers, or the content is not MNIST's.
    """
    found = []
    for name, shape, a in zip(Mnist._fields, _shapes(), arrays, strict=True):
        with np.errstate(invalid="ignore"):
            bytes_ = a.astype(np.uint8, copy=False)
        if a.shape[:1] != shape[:1] or a.size != math.prod(shape) or not np.array_equal(bytes_, a):
            wanted = f"{shape}, whole numbers from 0 to 255"
            raise DataError(f"not MNIST: {name}: expected {wanted}, found {a.dtype} {a.shape}")
        bytes_ = bytes_.reshape(shape)
        bytes_.setflags(write=False)
        found.append(bytes_)
    m = Mnist(*found)
    if (content := content_hash(m)) != CONTENT_SHA256:
        raise DataError(f"not MNIST: content has sha256 {content[:16]}..., not {CONTENT_SHA256[:16]}...")
    return m


def _shapes() -> tuple[tuple[int, ...], ...]:
    n, k = _COUNTS
    return (n, 784), (n,), (k, 784), (k,)


def _idx(folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read an original file. Its header is passed over: the hash of the content says more."""
    names = [n + gz for n in (name, name.replace("-idx", ".idx")) for gz in ("", ".gz")]
    path = next((folder / n for n in names if (folder / n).exists()), None)
    if path is None:
        raise DataError(f"the folder has no mnist.npz and no {name}")
    blob, header, size = path.read_bytes(), 16 if len(shape) == 2 else 8, math.prod(shape)
    try:
        blob = gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob
    except (EOFError, OSError, zlib.error) as e:
        raise DataError(f"damaged: {path.name}: {e}") from e
    if len(blob) != header + size:
        raise DataError(f"damaged or not MNIST: {path.name}: {len(blob)} bytes, expected {header + size}")
    return np.frombuffer(blob, np.uint8, offset=header).reshape(shape)


def content_hash(m: Mnist) -> str:
    """Hash the content: sha256 over the bytes x_train | y_train | x_test | y_test.

    Args:
        m: Four uint8 arrays.

    Returns:
        64 hexadecimal digits; the same for any file format the arrays came from.

    Raises:
        ValueError: An array is not uint8.
    """
    digest = hashlib.sha256()
    for name, a in m._asdict().items():
        if a.dtype != np.uint8:
            raise ValueError(f"m.{name} must be uint8, got {a.dtype}")
        digest.update(np.ascontiguousarray(a))
    return digest.hexdigest()


def check_range(start: int, count: int, total: int = 60_000) -> None:
    """Refuse a range of images that is not inside the training file; needs no data.

    Args:
        start: First image, 0 to 59999.
        count: Number of images, at least 1, with start + count at most the total.
        total: Number of images in the file.

    Raises:
        ValueError: start or count is not an integer, or the range is not inside the training file.
    """
    for name, value, least in (("start", start, 0), ("count", count, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be an integer, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if int(start) + int(count) > total:
        most = f"{total}, the number of training images"
        raise ValueError(f"start + count must be at most {most}: got {start} + {count}")


def subset(m: Mnist, start: int, count: int) -> Pair:
    """Take images start .. start + count - 1 of the training file.

    Args:
        m: The data.
        start: First image, 0 to 59999.
        count: Number of images N, at least 1, with start + count at most 60000.

    Returns:
        Images uint8 (N, 784) and labels uint8 (N,), read-only views.

    Raises:
        ValueError: start or count is not an integer or the range is not inside the training file.
    """
    check_range(start, count, len(m.x_train))
    start, count = int(start), int(count)
    return m.x_train[start : start + count], m.y_train[start : start + count]


def split_nielsen(m: Mnist) -> Split:
    """Split as in Nielsen's book: first 50000 to train, last 10000 of the training file to validate, test.

    Args:
        m: The data.

    Returns:
        50000, 10000 and 10000 images, read-only views.

    Source:
        M. Nielsen, Neural Networks and Deep Learning, chapter 1, ``mnist_loader.py``.
    """
    return Split(subset(m, 0, 50000), subset(m, 50000, 10000), (m.x_test, m.y_test))


def scale(x: np.ndarray, divisor: int, dtype: type | np.dtype | str = np.float32) -> np.ndarray:
    """Scale pixels: x / divisor, correctly rounded.

    Args:
        x: uint8, any shape, pixels 0 to 255.
        divisor: 255 (TensorFlow's reader, Keras tutorials; range 0 to 1) or 256 (Nielsen; exact in binary).
        dtype: float32 or float64.

    Returns:
        Array of the shape of x. TensorFlow's reader multiplies by a rounded 1/255 instead of dividing, which
        may differ from this by the last bit.

    Raises:
        ValueError: x is not uint8, or divisor or dtype is none of the above.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8:
        raise ValueError(f"x must be a uint8 array, got {getattr(x, 'dtype', type(x).__name__)}")
    if not isinstance(divisor, int | np.integer) or divisor not in (255, 256):
        raise ValueError(f"divisor must be 255 or 256, got {divisor!r}")
    if dtype is None or dtype not in (np.dtype(np.float32), np.dtype(np.float64)):  # NumPy: None is float64
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    kind = np.dtype(dtype)
    return x.astype(kind) / kind.type(divisor)
