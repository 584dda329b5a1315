"""Settings of a training: plain values, checked one by one, and chains of settings.

A setting is a frozen dataclass with a field ``after``: the setting whose networks it takes up, or None. As
plain data it is a configuration for `lib.ensembles`, whose jobs make the setting of it again.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from lib import data


def whole(name: str, value: object, low: int, high: int) -> None:
    """Refuse, with a ValueError that names it, what is not a whole number from low to high."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def number(name: str, value: object, low: float, high: float) -> None:
    """Refuse, with a ValueError that names it, what is not a number from low to high."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:.3g}, got {value!r}")


def choice(name: str, value: object, known: Collection[str]) -> None:
    """Refuse, with a ValueError that names it, what is not one of the names that are known."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {sorted(known)}, got {value!r}")


def flag(name: str, value: object) -> None:
    """Refuse, with a ValueError that names it, what is neither True nor False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def ascending(name: str, value: object, low: int, high: int) -> None:
    """Refuse, with a ValueError that names it, what is not a tuple of rising whole numbers in a range."""
    fits = isinstance(value, tuple) and all(type(v) is int and low <= v <= high for v in value)
    if not fits or any(b <= a for a, b in zip(value[:-1], value[1:], strict=True)):
        raise ValueError(f"{name} must be rising whole numbers from {low} to {high}, got {value!r}")


class Chain:
    """Base of a setting.

    Attributes:
        same: Names of attributes that must be those of the setting before.
    """

    same: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Takes lists, as JSON has them, for tuples, and checks all of it.

        Raises:
            ValueError: Something does not fit; says what, and what would.
        """
        for f in fields(self):
            if isinstance(getattr(self, f.name), list):
                object.__setattr__(self, f.name, tuple(getattr(self, f.name)))
        self.check()
        if self.after is None:
            return
        if not isinstance(self.after, type(self)) or not getattr(self.after, "keep", True):
            raise ValueError(
                f"after must be a {type(self).__name__} that keeps its networks, got {self.after!r}"
            )
        for name in self.same:
            before = getattr(self.after, name)
            if before != getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)}, but {before} in the one before")

    def check(self) -> None:
        """Refuses, with a ValueError that names it, any field but ``after`` that does not fit."""

    def config(self) -> dict[str, Any]:
        """The setting and all before it as plain data, for `ensemble.run`."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "after"}
        own = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
        return own | {"after": self.after.config() if self.after else None, "data": data.CONTENT_SHA256}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """The setting of a configuration: the inverse of `config`."""
        own = {f.name: config[f.name] for f in fields(cls)}
        return cls(**own | {"after": cls.of(own["after"]) if own["after"] else None})

    @property
    def depth(self) -> int:
        """Number of settings before this one."""
        return self.after.depth + 1 if self.after else 0

    def before(self, name: str) -> int:
        """Sum of a field over all settings before this one."""
        return self.after.before(name) + getattr(self.after, name) if self.after else 0
