"""Eight images in place of MNIST, read by the same code, in every form that MNIST comes in."""

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from book import fetch
from lib import data

_rng = np.random.default_rng(0)
TOY = data.Mnist(
    _rng.integers(0, 256, (6, 784), dtype=np.uint8),
    np.array([5, 0, 4, 1, 9, 2], np.uint8),
    _rng.integers(0, 256, (2, 784), dtype=np.uint8),
    np.array([7, 2], np.uint8),
)
OTHER = TOY._replace(x_train=TOY.x_train ^ np.uint8(1))


def settle(monkeypatch, folder: Path) -> Path:
    """Make the toy what is accepted, with a cache and a home of its own; gives the cache's file."""
    for name in ("SGD_BOOK_MNIST", "SGD_BOOK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SGD_BOOK_CACHE", str(folder / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    monkeypatch.setattr(data, "CONTENT_SHA256", data.content_hash(TOY))
    monkeypatch.setattr(data, "_COUNTS", (6, 2))
    data._read_once.cache_clear()
    return folder / "cache" / "mnist.npz"


def same(m, wanted=TOY):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(m, wanted, strict=True))


def npz(m=TOY, images=(784,), **more) -> bytes:
    blob = io.BytesIO()
    shaped = {k: v.reshape(-1, *images) if k.startswith("x") else v for k, v in m._asdict().items()}
    np.savez(blob, **shaped, **more)
    return blob.getvalue()


def idx(m=TOY) -> dict[str, bytes]:
    heads = [
        struct.pack(">IIII", 2051, len(a), 28, 28) if a.ndim == 2 else struct.pack(">II", 2049, len(a))
        for a in m
    ]
    return {name: head + a.tobytes() for name, head, a in zip(data._IDX_FILES, heads, m, strict=True)}


class _Python2Pickler(pickle._Pickler):
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


def wheel(m=TOY) -> bytes:
    x, y = m.x_train * np.float32(1 / 256), m.y_train.astype(np.int64)
    pairs = (x[:4], y[:4]), (x[4:], y[4:]), (m.x_test * np.float32(1 / 256), m.y_test.astype(np.int64))
    member, blob = io.BytesIO(), io.BytesIO()
    _Python2Pickler(member, protocol=2).dump(pairs)
    with zipfile.ZipFile(blob, "w") as z:
        z.writestr(fetch.WHEEL_MEMBER, gzip.compress(member.getvalue()))
    return blob.getvalue()
