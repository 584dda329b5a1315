"""The order in which training images come, epoch by epoch."""

from collections.abc import Sequence

import numpy as np

SAMPLING = ("shuffled", "drawn")


def epoch(stream: Sequence[int], images: int, sampling: str = "shuffled") -> np.ndarray:
    """Numbers of the images in an epoch (N,).

    Args:
        stream: Numbers that name the stream of random numbers; the order depends on nothing else.
        images: How many images there are, N.
        sampling: 'shuffled' takes every image once, 'drawn' draws each with replacement.
    """
    generator = np.random.default_rng(stream)
    return (
        generator.permutation(images) if sampling == "shuffled" else generator.integers(images, size=images)
    )


def batches(order: np.ndarray, size: int) -> np.ndarray:
    """An epoch in whole batches (T, B); what is left at its end is left out."""
    return order[: len(order) // size * size].reshape(-1, size)
