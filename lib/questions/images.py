"""MNIST as the jobs take it: scaled, with its labels, made once a process."""

import functools

import numpy as np

from lib import data, train
from lib.backend import tf


@functools.lru_cache(maxsize=4)
def taught(first: int, count: int, divisor: int, dtype: str = "float32") -> tuple[train.Inputs, np.ndarray]:
    """Training images as inputs of the engine, and their classes one-hot (N, 10).

    Args:
        first: First image, in the training file.
        count: Number of images N.
        divisor: Pixels are divided by this.
        dtype: Float type of both.
    """
    x, y = data.subset(data.load(), first, count)
    return train.Inputs(x, divisor, dtype), np.eye(data.CLASSES, dtype=dtype)[y]


@functools.lru_cache(maxsize=4)
def judged(
    where: tuple[int, int] | None, divisor: int, dtype: str = "float32"
) -> tuple[tf.Tensor, np.ndarray]:
    """Images (N, 784) to judge networks on, and their labels (N,).

    Args:
        where: First image and number of images in the training file; None for the test file.
        divisor: Pixels are divided by this.
        dtype: Float type of the images.
    """
    mnist = data.load()
    x, y = data.subset(mnist, *where) if where else (mnist.x_test, mnist.y_test)
    return tf.constant(data.scale(x, divisor, dtype)), y.astype(np.int32)
