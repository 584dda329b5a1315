"""Progress of a run on the terminal: which chapter, which cell, how far the engine is, time left.

On a terminal a bar; elsewhere (a log) a line now and then. Never on a page of the book.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

LOG_SECONDS = 15.0  # between two lines of a log
BAR_SECONDS = 0.5
_BAR = "{desc} |{bar:12}| {postfix}"


def time_left(
    recorded: Mapping[str, float], cells: Sequence[str], at: int, done: float, here: float
) -> float | None:
    """Seconds until a chapter is through, judged by an earlier run of it.

    The machine's speed relative to that run is taken from the cells already done, and from the present one
    once it has taken longer than it should.

    Args:
        recorded: seconds of each cell in the earlier run, by cell id.
        cells: ids of the cells of this run, in order; empty for cells that take no time.
        at: index of the present cell.
        done: seconds that the cells before it took.
        here: seconds since the present cell started.

    Returns:
        Seconds, or None when the earlier run does not know all the cells.
    """
    if not recorded or any(cell not in recorded for cell in cells[at:] if cell):
        return None
    recorded = {**recorded, "": 0.0}
    before = sum(recorded.get(cell, 0.0) for cell in cells[:at])
    present = recorded[cells[at]] if at < len(cells) else 0.0
    speed = max(done, 1e-3) / before if before >= 2.0 else 1.0
    if present > 0:
        speed = max(speed, here / present)
    return speed * (present + sum(recorded[cell] for cell in cells[at + 1 :])) - here


def clock(seconds: float | None) -> str:
    """Seconds as minutes and seconds, ``?`` when unknown."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes}:{rest:02d}"


def engine_note(path: Path) -> str:
    """What the engine last wrote about its chunks, as ``label 3/20``; empty when it wrote nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            return f"{entry['label']} {entry['done']}/{entry['total']}"
        except (ValueError, KeyError, TypeError):
            continue  # a line half-written
    return ""


class Progress:
    """Shows one chapter's run; a context manager around it."""

    def __init__(
        self,
        title: str,
        recorded: Mapping[str, float] | None = None,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to show a run.

        Args:
            title: what is being run, e.g. ``chapter 1 of 4, greedy_layerwise_training``.
            recorded: seconds of each cell in an earlier run.
            stream: where to write; stderr if None.
            now: clock in seconds.
        """
        self._title, self._recorded, self._now = title, dict(recorded or {}), now
        self._stream = stream or sys.stderr
        self._cells: Sequence[str] = ()
        self._at, self._start, self._cell_start = 0, now(), now()
        self._bar: tqdm | None = None
        self._file: Path | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start to show."""
        self._start = self._cell_start = self._now()
        if self._stream.isatty():
            self._bar = tqdm(file=self._stream, leave=False, dynamic_ncols=True, bar_format=_BAR)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and leave one line that says how it ended."""
        self._stop.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.close()
        how = "done" if kind is None else "stopped"
        self._stream.write(f"{self._title}: {how} after {clock(self._now() - self._start)}\n")
        self._stream.flush()

    def engine(self, file: Path) -> None:
        """Tell in which file the engine reports its chunks."""
        self._file = file

    def cells(self, ids: Sequence[str]) -> None:
        """Tell which cells will run."""
        self._cells = tuple(ids)
        if self._bar is not None:
            self._bar.total = len(self._cells)

    def cell(self, index: int) -> None:
        """Tell that a cell starts."""
        self._at, self._cell_start = index, self._now()

    def line(self) -> str:
        """Where the run stands, in one line."""
        now = self._now()
        here = now - self._cell_start
        left = time_left(self._recorded, self._cells, self._at, now - self._start - here, here)
        note = engine_note(self._file) if self._file else ""
        cell = f"cell {min(self._at + 1, len(self._cells))} of {len(self._cells)}"
        times = f"{clock(now - self._start)} so far, {clock(left)} left"
        return ", ".join(part for part in (cell, note, times) if part)

    def _watch(self) -> None:
        while not self._stop.wait(LOG_SECONDS if self._bar is None else BAR_SECONDS):
            if self._bar is None:
                self._stream.write(f"{self._title}: {self.line()}\n")
                self._stream.flush()
            else:
                self._bar.n = self._at
                self._bar.set_description_str(self._title, refresh=False)
                self._bar.set_postfix_str(self.line())
