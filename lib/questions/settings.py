"""Chains of settings: how networks are trained that another setting left.

A setting is a frozen dataclass with a field ``after``: the setting whose networks it takes up, or None. As
plain data it is a configuration for `lib.ensembles`, whose jobs make the setting of it again.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from lib import checks, data


class Chain:
    """Base of a setting. Its fields carry their checks, as in `lib.checks`.

    Attributes:
        same: Names of attributes that must be those of the setting before.
    """

    same: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Takes lists, as JSON has them, for tuples, and checks all of it.

        Raises:
            ValueError: Something does not fit; says what, and what would.
        """
        checks.fields(self)
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
        """Refuses, with a ValueError that names them, fields that do not fit on each other."""

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
