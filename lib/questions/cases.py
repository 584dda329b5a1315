"""Public cases: networks that people asked about, as small records in ``cases.yaml`` beside this module."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lib.questions.own import Setting

FILE = Path(__file__).with_name("cases.yaml")


@dataclass(frozen=True)
class Case:
    """A network that somebody asked about.

    Attributes:
        name: Short, for tables and claims.
        title: What was asked.
        saw: What its asker saw.
        setting: As told.
        guessed: What was not told, and is guessed.
        tries: Other guesses, as settings.
        told: What is said there to help, as settings.
        link: Where it was asked; None where that is not public any more.
        mistake: What was wrong in the asker's code, if it is no matter of the network.
    """

    name: str
    title: str
    saw: str
    setting: Setting
    guessed: tuple[str, ...]
    tries: Mapping[str, Setting]
    told: Mapping[str, Setting]
    link: str | None = None
    mistake: str | None = None

    def at(self, **change: Any) -> "Case":
        """The case with fields of all its settings changed, such as fewer images."""
        other = {k: {n: replace(s, **change) for n, s in getattr(self, k).items()} for k in ("tries", "told")}
        return replace(self, setting=replace(self.setting, **change), **other)


def load(path: Path = FILE) -> dict[str, Case]:
    """Read the cases by name, in the order of the file.

    Args:
        path: YAML, a list of records.

    Raises:
        ValueError: A record has a missing or unknown field, or settings that do not fit; names the record.
    """
    found: dict[str, Case] = {}
    for number, record in enumerate(yaml.safe_load(path.read_text("utf-8"))):
        name = (
            record.get("name", f"number {number + 1}") if isinstance(record, dict) else f"number {number + 1}"
        )
        try:
            if name in found:
                raise ValueError("the name is there already")
            own = dict(record)
            setting = Setting(**own.pop("setting"))
            groups = {
                k: {n: replace(setting, **change) for n, change in own.pop(k).items()}
                for k in ("tries", "told")
            }
            own["guessed"] = tuple(own["guessed"])
            found[name] = Case(setting=setting, **own, **groups)
        except (TypeError, ValueError, KeyError, AttributeError) as e:
            raise ValueError(f"{path.name}, case {name!r}: {' '.join(str(e).split())}") from None
    return found
