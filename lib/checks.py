"""Checks of plain values: each refuses what does not fit with one clear ValueError.

``whole(1, 10)`` is a check: ``whole(1, 10)("batch", value)`` gives the value back as plain Python, which JSON
can hold, or raises. A dataclass carries its checks beside its fields, as in
``batch: Annotated[int, whole(1, 10)]``, and runs them by `fields`.
"""

import dataclasses
from collections.abc import Callable, Collection

import numpy as np

Check = Callable[[str, object], object]

_WHOLE = (int, np.integer)
_NUMBER = (*_WHOLE, float, np.floating)


def _check(fits: Callable, plain: Callable, wanted: str) -> Check:
    def check(name: str, value: object) -> object:
        if not fits(value):
            raise ValueError(f"{name} must be {wanted}, got {value!r}")
        return plain(value)

    return check


def _within(value: object, kinds: tuple[type, ...], low: float, high: float) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and low <= _plain(value) <= high


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def whole(low: int, high: int) -> Check:
    """A whole number from low to high, Python's or NumPy's."""
    return _check(lambda v: _within(v, _WHOLE, low, high), int, f"a whole number from {low} to {high}")


def number(low: float, high: float) -> Check:
    """A number from low to high, Python's or NumPy's."""
    return _check(lambda v: _within(v, _NUMBER, low, high), _plain, f"a number from {low:g} to {high:.3g}")


def wholes(low: int, high: int, least: int = 0, most: int | None = None, rising: bool = False) -> Check:
    """A tuple or list of whole numbers from low to high, as a tuple.

    Args:
        low: Least value of each.
        high: Largest value of each.
        least: How many there must be; 0 or 1 where any number may be.
        most: How many there may be; None for any number.
        rising: Whether each must be above the one before.
    """

    def fits(value: object) -> bool:
        several = isinstance(value, (tuple, list)) and least <= len(value) <= (most or len(value))
        fitting = several and all(_within(v, _WHOLE, low, high) for v in value)
        return fitting and (not rising or list(value) == sorted(set(value)))

    few = "one or more " if least == 1 else ""
    count = few if most is None else f"{least} " if least == most else f"{least} to {most} "
    wanted = f"{count}{'rising ' if rising else ''}whole numbers from {low} to {high}"
    return _check(fits, lambda value: tuple(int(v) for v in value), wanted)


def numbers(low: float, high: float) -> Check:
    """A tuple or list of numbers from low to high, at least one, as a tuple."""

    def fits(value: object) -> bool:
        several = isinstance(value, (tuple, list)) and len(value) > 0
        return several and all(_within(v, _NUMBER, low, high) for v in value)

    wanted = f"one or more numbers from {low:g} to {high:.3g}"
    return _check(fits, lambda value: tuple(map(_plain, value)), wanted)


def choice(known: Collection[str]) -> Check:
    """One of the names that are known."""
    return _check(lambda v: isinstance(v, str) and v in known, str, f"one of {sorted(known)}")


def optional(check: Check) -> Check:
    """What the check takes, or None."""
    return lambda name, value: None if value is None else check(name, value)


flag = _check(lambda v: isinstance(v, (bool, np.bool_)), bool, "True or False")


def must(fits: object, name: str, be: str, got: object) -> None:
    """ValueError in the words of these checks for what does not fit: what it must be, and what came."""
    if not fits:
        raise ValueError(f"{name} must be {be}, got {got}")


def seeds(chosen: Collection[int]) -> None:
    """Refuses an empty list of seeds, and seeds that are not whole numbers from 0 to 2**31 - 1."""
    if len(chosen) == 0:
        raise ValueError("seeds must name at least one member, got none")
    for seed in chosen:
        if not _within(seed, _WHOLE, 0, 2**31 - 1):
            raise ValueError(f"seeds must be whole numbers from 0 to {2**31 - 1}, got {seed!r}")


def fields(setting: object) -> None:
    """Run the checks of a dataclass's fields in order, and put what they give back in their places.

    Args:
        setting: A dataclass whose fields carry checks as ``Annotated``; it may be frozen.

    Raises:
        ValueError: A field does not fit; names it, what came and what is allowed.
    """
    for field in dataclasses.fields(setting):
        for check in getattr(field.type, "__metadata__", ()):
            value = check(field.name, getattr(setting, field.name))
            object.__setattr__(setting, field.name, value)
