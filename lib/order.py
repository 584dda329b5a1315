"""The order in which training images come, epoch by epoch."""

import numpy as np

from lib import streams

SAMPLING = ("shuffled", "drawn")


def epoch(stream: tuple, images: int, sampling: str = "shuffled") -> np.ndarray:
    """Numbers of the images in an epoch (N,).

    Args:
        stream: Purpose and numbers for `lib.streams.generator`; the order depends on nothing else.
        images: How many images there are, N.
        sampling: 'shuffled' takes every image once, 'drawn' draws each with replacement.
    """
    generator = streams.generator(*stream)
    return (
        generator.permutation(images) if sampling == "shuffled" else generator.integers(images, size=images)
    )


def batches(order: np.ndarray, size: int) -> np.ndarray:
    """An epoch in whole batches (T, B); what is left at its end is left out."""
    return order[: len(order) // size * size].reshape(-1, size)
