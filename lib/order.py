"""The order in which training images come, epoch by epoch."""

import functools

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
    draw = streams.generator(*stream)
    return draw.permutation(images) if sampling == "shuffled" else draw.integers(images, size=images)


def batches(order: np.ndarray, size: int) -> np.ndarray:
    """An epoch in whole batches (T, B); what is left at its end is left out."""
    return order[: len(order) // size * size].reshape(-1, size)


def stretch(
    stream: tuple, images: int, size: int, first: int, count: int, sampling: str = "shuffled"
) -> np.ndarray:
    """The batches of some updates (count, B), epoch after epoch.

    Args:
        stream: As for `epoch`, without its last number, which is that of the epoch.
        images: How many images there are.
        size: Images in a batch, B.
        first: The first of these updates, from the start of training on.
        count: How many updates.
        sampling: As for `epoch`.
    """
    per_epoch, rows = images // size, []
    while count:
        number, at = divmod(first, per_epoch)
        take = min(count, per_epoch - at)
        rows.append(batches(_kept((*stream, number), images, sampling), size)[at : at + take])
        first, count = first + take, count - take
    return np.concatenate(rows)


_kept = functools.lru_cache(maxsize=8)(epoch)  # the next stretch is often of the same epoch
