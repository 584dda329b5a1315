"""The order in which training images come, epoch by epoch."""

from collections.abc import Sequence

import numpy as np

from lib import streams

SAMPLING = ("shuffled", "drawn")


def block(seeds: Sequence[int], size: int) -> int:
    """Number of the block of seeds that share an order: first seed by size.

    It is the same for some of a block as for all of it, so an order does not depend on who was asked for.

    Args:
        seeds: One or more of a block.
        size: Seeds in a whole block.

    Raises:
        ValueError: The seeds are of more than one block.
    """
    first, *others = sorted({int(seed) // size for seed in seeds})
    if others:
        raise ValueError(
            f"seeds must be of one block, such as {first * size} to {(first + 1) * size - 1}, "
            f"got {list(seeds)}"
        )
    return first


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
