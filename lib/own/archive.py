"""A reader's own images: an ``.npz`` with x_train, y_train, x_test and y_test, checked before it is used."""

import functools
import hashlib
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

MEMBERS = ("x_train", "y_train", "x_test", "y_test")
CLASSES = 1000  # at most


class ArchiveError(ValueError):
    """A file of images that cannot be used, in one line; notebooks show no stack."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Images(NamedTuple):
    """Images and their classes.

    Attributes:
        x_train: float32 (N, H, W, C), not scaled.
        y_train: int32 (N,), 0 to K - 1.
        x_test: float32 (n, H, W, C).
        y_test: int32 (n,).
        content: SHA-256 of all four, so that a kept result knows what it came from.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    content: str

    @property
    def classes(self) -> int:
        """Number of classes K, from the training labels."""
        return int(self.y_train.max()) + 1


def read(path: str | Path) -> Images:
    """Read a file of images. Nothing in it is executed: arrays of objects are refused.

    Args:
        path: An ``.npz`` with the four arrays: images of numbers (N, H, W), (N, H, W, C), or (N, D), D
            numbers in a row, squares where D is one; labels (N,) or (N, 1), whole numbers from 0, each
            class at least once among the training labels.

    Raises:
        ArchiveError: Says the first fault: no such file, no ``.npz``, a missing name, an array of objects or
            texts, shapes that do not fit, NaN or infinity, labels out of range.
    """
    path = Path(path).expanduser()
    try:
        stat = path.stat()
    except OSError:
        raise ArchiveError(f"{path}: no such file") from None
    return _read(path, stat.st_mtime_ns, stat.st_size)  # a file that was changed is read again


@functools.lru_cache(maxsize=2)
def _read(path: Path, *_changed: int) -> Images:
    try:
        if not zipfile.is_zipfile(path):
            raise ArchiveError(f"{path}: no .npz file, as numpy.savez writes it")
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in MEMBERS if name not in file.files]:
                lacks, has, wanted = map(", ".join, (missing, file.files or ["nothing"], MEMBERS))
                raise ArchiveError(f"{path}: no {lacks}; it has {has}, wanted {wanted}")
            arrays = {name: _array(path, file, name) for name in MEMBERS}
    except ArchiveError:
        raise
    except Exception as e:  # what damaged zip files raise is no closed list
        raise ArchiveError(f"{path}: damaged: {' '.join(str(e).split()) or type(e).__name__}") from None
    found = {}
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        found[f"x_{part}"], found[f"y_{part}"] = _images(path, part, x), _labels(path, part, y, len(x))
    shapes = [found[f"x_{part}"].shape[1:] for part in ("train", "test")]
    if shapes[0] != shapes[1]:
        raise ArchiveError(f"{path}: images of x_train are {shapes[0]}, those of x_test {shapes[1]}")
    classes = int(found["y_train"].max()) + 1
    if missing := sorted(set(range(classes)) - set(found["y_train"].tolist())):
        few = ", ".join(map(str, missing[:5]))
        raise ArchiveError(f"{path}: y_train must hold each class from 0 to {classes - 1}, it has no {few}")
    if found["y_test"].max() >= classes or classes < 2:
        raise ArchiveError(
            f"{path}: labels out of range: y_train has classes 0 to {classes - 1}, y_test goes up to "
            f"{found['y_test'].max()}; wanted at least two classes, the same in both"
        )
    digest = hashlib.sha256(repr(shapes).encode())
    for a in found.values():
        a.setflags(write=False)
        digest.update(np.ascontiguousarray(a))
    return Images(**found, content=digest.hexdigest())


def _array(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        a = file[name]
    except ValueError as e:
        if "pickle" in str(e) or "object" in str(e).lower():
            raise ArchiveError(
                f"{path}: {name} is an array of objects, which would have to be executed to be read; "
                "save an array of numbers of one shape"
            ) from None
        raise
    if a.dtype.kind not in "buif":
        raise ArchiveError(f"{path}: {name} must hold numbers, got {a.dtype}")
    return a


def _images(path: Path, part: str, x: np.ndarray) -> np.ndarray:
    if x.ndim not in (2, 3, 4) or not x.size:
        raise ArchiveError(f"{path}: x_{part} must be (N, H, W), (N, H, W, C) or (N, D), got {x.shape}")
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] > 4:
        raise ArchiveError(
            f"{path}: x_{part} has its channels first, {x.shape}, wanted (N, H, W, C); "
            "np.moveaxis(x, 1, -1) puts them last"
        )
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    if not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))
        raise ArchiveError(f"{path}: x_{part} holds NaN or infinity in {len(bad)} images, the first {bad[0]}")
    if x.ndim == 2:
        side = round(x.shape[1] ** 0.5)
        x = x.reshape(len(x), side, side) if side**2 == x.shape[1] else x[:, None]
    return x[..., None] if x.ndim == 3 else x


def _labels(path: Path, part: str, y: np.ndarray, count: int) -> np.ndarray:
    if y.shape not in ((count,), (count, 1)):
        hint = "; of one-hot rows take y.argmax(axis=1)" if y.ndim == 2 and len(y) == count else ""
        wanted = f"({count},), one label for each image"
        raise ArchiveError(f"{path}: y_{part} must be {wanted}, got {y.shape}{hint}")
    y = y.reshape(-1)
    if not np.isfinite(y).all() or (y != np.round(y)).any() or y.min() < 0 or y.max() >= CLASSES:
        raise ArchiveError(
            f"{path}: labels out of range: y_{part} must hold whole numbers from 0 to {CLASSES - 1}, got "
            f"{y.min()} to {y.max()}"
        )
    return y.astype(np.int32)
