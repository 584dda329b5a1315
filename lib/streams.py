"""Streams of random numbers: each purpose has its own, so that no two draws are ever the same numbers.

A stream begins with the number of its purpose; then come the numbers that tell the streams of a purpose
apart, such as a seed and an epoch. Purposes that draw weights name TensorFlow's streams, which begin with a
seed; the others NumPy's.
"""

import numpy as np

# What is drawn, and by which numbers. A purpose's place is its number: new ones go to the end.
PURPOSES = {
    "initial": ("layer",),  # weights; layer 0 where all are drawn at once
    "head": ("stage",),
    "fresh": ("stage",),  # layers drawn anew before a stage
    "change": ("depth",),  # weights that change networks before a phase
    "phase order": ("seed", "depth", "epoch"),
    "plateau order": ("seed", "epoch"),
    "jump order": ("order", "epoch"),
    "drift order": ("seed", "order", "epoch"),
    "sharpness": ("seed",),  # where the search for an eigenvalue starts
    "steepness": (),  # where the search begins at the start of a break
    "own order": ("seed", "epoch"),
    "own bias": ("layer",),
    "own sharpness": ("seed",),
    "drawn model": ("seed",),  # seeds of what a Keras model draws
    "planted": ("fault",),  # faults that are drawn
}
LENGTH = 4  # of every stream: NumPy takes a shorter one for the same with zeros at its end
MOST = 2**20  # numbers that tell TensorFlow's streams of a purpose apart


def weights(purpose: str, number: int) -> int:
    """The second number of a stream of TensorFlow's, whose first one is a member's seed.

    Args:
        purpose: Name in `PURPOSES`, one of a single number.
        number: From 0 to `MOST` - 1.

    Raises:
        ValueError: The number is out of range.
    """
    (named,) = PURPOSES[purpose]
    if not 0 <= number < MOST:
        raise ValueError(f"{named} must be from 0 to {MOST - 1}, got {number}")
    return list(PURPOSES).index(purpose) * MOST + number


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """A generator of NumPy's at the start of a stream.

    Args:
        purpose: Name in `PURPOSES`.
        numbers: As named there, from 0 to 2**32 - 1: NumPy takes a larger one for two.

    Raises:
        ValueError: There are more or fewer numbers, or one is out of range.
    """
    named = PURPOSES[purpose]
    if len(numbers) != len(named) or not all(0 <= number < 2**32 for number in numbers):
        raise ValueError(f"{purpose} takes {', '.join(named)}, each from 0 to {2**32 - 1}, got {numbers}")
    entropy = [list(PURPOSES).index(purpose), *numbers]
    return np.random.default_rng(entropy + [0] * (LENGTH - len(entropy)))
