"""Other sets of small images than MNIST, in its form: bytes of 28x28 pixels, ten classes.

"digits" is the test part of the UCI set of handwritten digits that scikit-learn ships (Alpaydin and Kaynak
1998, CC BY 4.0), 8x8 pixels, each here a square of 3x3 with an empty margin of 2. "fashion" is Fashion-MNIST
(Xiao, Rasul and Vollgraf 2017, MIT licence), which Keras downloads once into its own cache.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from lib import data

SHIPPED = "datasets/data/digits.csv.gz"  # in the package sklearn
NAMES = ("digits", "fashion")
TRAINING = {"digits": 1300, "fashion": 50_000}  # images to train on; those after them are to validate
SIZE = {"digits": 1797, "fashion": 60_000}


@functools.lru_cache(maxsize=2)
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give a set in its file's order: images uint8 (N, 784) and labels uint8 (N,), read-only.

    Args:
        name: Name in `NAMES`.

    Raises:
        data.DataError: The package or the network that has it is missing, or what came is something else.
    """
    x, y = _digits() if name == "digits" else _fashion()
    if x.shape != (SIZE[name], 784) or y.shape != x.shape[:1] or set(y.tolist()) != set(range(10)):
        raise data.DataError(f"the images called {name} are not what they should be: {x.shape}, {y.shape}")
    for a in (x, y):
        a.setflags(write=False)
    return x, y


def content(name: str) -> str:
    """Hash of a set's pixels and labels, so that a kept result knows what it came from."""
    return hashlib.sha256(b"".join(a.tobytes() for a in load(name))).hexdigest()


def _digits():
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise data.DataError(
            "the images called digits come with scikit-learn, which is not installed: install "
            "requirements.txt, or take other images (other_images: fashion)"
        )
    path = Path(next(iter(found.submodule_search_locations))) / SHIPPED
    try:
        table = np.loadtxt(path, delimiter=",")
    except (OSError, ValueError) as e:
        raise data.DataError(f"scikit-learn is there, but not its digits, {path}: {e}") from e
    grey = np.rint(table[:, :-1] * (255 / 16)).reshape(-1, 8, 8)
    grey = np.pad(grey.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    return grey.reshape(-1, 784).astype(np.uint8), table[:, -1].astype(np.uint8)


def _fashion():
    from lib.backend import tf  # here, for it takes seconds

    try:
        (x, y), _ = tf.keras.datasets.fashion_mnist.load_data()
    except Exception as e:  # what a download raises is no closed list
        raise data.DataError(
            f"Keras could not fetch Fashion-MNIST, which needs a network once: {data.why(e)}. "
            "Take other images (other_images: digits)."
        ) from e
    return np.array(x.reshape(-1, 784)), np.array(y)
