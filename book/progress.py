"""Progress of a run on the terminal: which chapter, which cell, how far the engine is, time left.

On a terminal a bar; elsewhere (a log) a line now and then. Never on a page of the book.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TextIO

from tqdm import tqdm

LOG_SECONDS = 15.0  # between two lines of a log
BAR_SECONDS = 0.5


def expected(recorded: Mapping[str, float], cells: Sequence[str]) -> list[float]:
    """Seconds of each cell of a run, judged by an earlier one.

    Cells that the earlier run does not know share the time of those that are no more.

    Args:
        recorded: seconds of each cell in the earlier run, by cell id.
        cells: ids of the cells of this run, in order; empty for cells that take no time.
    """
    new = sum(1 for cell in cells if cell and cell not in recorded)
    share = sum(seconds for cell, seconds in recorded.items() if cell not in cells) / max(new, 1)
    return [recorded.get(cell, share) if cell else 0.0 for cell in cells]


def time_left(
    recorded: Mapping[str, float], cells: Sequence[str], at: int, done: float, here: float
) -> float | None:
    """Seconds until a chapter is through, judged by an earlier run of it.

    The machine's speed relative to that run is taken from the cells already done, and from the present one
    once it has taken longer than it should.

    Args:
        recorded: as for `expected`.
        cells: as for `expected`.
        at: index of the present cell.
        done: seconds that the cells before it took.
        here: seconds since the present cell started.

    Returns:
        Seconds, or None when there was no earlier run.
    """
    if not recorded:
        return None
    seconds = [*expected(recorded, cells), 0.0]
    before, present = sum(seconds[:at]), seconds[at]
    speed = max(done, 1e-3) / before if before >= 2.0 else 1.0
    if present > 0:
        speed = max(speed, here / present)
    return speed * (present + sum(seconds[at + 1 :])) - here


def clock(seconds: float | None) -> str:
    """Seconds as minutes and seconds, ``?`` when unknown."""
    if seconds is None:
        return "?"
    return "{}:{:02d}".format(*divmod(round(max(seconds, 0.0)), 60))


def engine_note(path: Path | None) -> str:
    """What the engine last wrote about its chunks, as ``label 3/20``; empty when it wrote nothing."""
    try:
        said = path.read_text("utf-8") if path else ""
        *_, line, _ = said.split("\n")  # the last one is empty, or half-written
        return "{label} {done}/{total}".format_map(json.loads(line))
    except (OSError, ValueError, KeyError, TypeError):
        return ""


class Progress:
    """Shows one chapter's run; a context manager around it."""

    def __init__(
        self,
        title: str,
        recorded: Mapping[str, float] | None = None,
        stream: TextIO | None = None,
        bar: bool = True,
    ) -> None:
        """Prepare to show a run.

        Args:
            title: what is being run, e.g. ``chapter 1 of 5, greedy_layerwise_training``.
            recorded: seconds of each cell in an earlier run.
            stream: where to write; stderr if None.
            bar: whether a terminal shows a bar; several runs at once share it in lines.
        """
        self._title, self._recorded = title, recorded or {}
        self._stream = stream or sys.stderr
        self._bar = bar and self._stream.isatty()
        self._cells: list[str] = []
        self._at, self._start, self._cell_start = 0, time.monotonic(), time.monotonic()
        self._file: Path | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start to show."""
        self._start = self._cell_start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop, and leave one line that says how it ended."""
        self._end.set()
        self._thread.join()
        how, took = "done" if kind is None else "stopped", clock(time.monotonic() - self._start)
        print(f"{self._title}: {how} after {took}", file=self._stream, flush=True)

    def cells(self, ids: Sequence[str], file: Path | None = None) -> None:
        """Tell which cells will run, and in which file the engine reports its chunks."""
        self._cells, self._file = list(ids), file

    def cell(self, name: str) -> None:
        """Tell that a cell starts."""
        if name in self._cells:
            self._at, self._cell_start = self._cells.index(name), time.monotonic()

    def line(self) -> str:
        """Where the run stands, in one line."""
        now = time.monotonic()
        here = now - self._cell_start
        left = time_left(self._recorded, self._cells, self._at, now - self._start - here, here)
        cell = f"cell {min(self._at + 1, len(self._cells))} of {len(self._cells)}"
        times = f"{clock(now - self._start)} so far" + ("" if left is None else f", {clock(left)} left")
        return ", ".join(part for part in (cell, engine_note(self._file), times) if part)

    def _watch(self) -> None:
        if not self._bar:
            while not self._end.wait(LOG_SECONDS):
                print(f"{self._title}: {self.line()}", file=self._stream, flush=True)
            return
        form = "{desc} |{bar:12}| {postfix}"
        with tqdm(file=self._stream, leave=False, dynamic_ncols=True, bar_format=form) as bar:
            while not self._end.wait(BAR_SECONDS):
                bar.total, bar.n = len(self._cells), self._at
                bar.set_description_str(self._title, refresh=False)
                bar.set_postfix_str(self.line())
