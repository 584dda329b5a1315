"""Jobs for the tests of ensembles and their workers; a worker process imports them from here."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

PATIENCE = 120  # seconds until a job that waits for something gives up

CALLS: list[list[int]] = []  # the seeds of each finished call, in this process
HOOK: list = []  # what the toy does first, in this process


class Stopped(Exception):
    """Raised by jobs that are told to."""


def toy(config, seeds):
    """Any job: rows that depend on seed and configuration alone, in several types and shapes."""
    for hook in HOOK:
        hook(seeds)
    rows = np.array(
        [np.random.default_rng([s, config["n"]]).normal(size=config["n"]) for s in seeds], dtype=np.float32
    )
    CALLS.append(list(seeds))
    return {"rows": rows, "sign": rows > 0, "seed": np.array(seeds, np.uint32)}


def company(config, seeds):
    """A job whose rows do depend on who is computed together, as rounding does."""
    CALLS.append(list(seeds))
    row = list(seeds) + [-1] * (16 - len(seeds))
    return {"together": np.array([row] * len(seeds))}


def chain(config, seeds, before=None):
    """Adds a digit of its own to what came before; does first what ``config["order"]`` tells it to."""
    folder, name = Path(config["folder"]), f"{config['digit']} {seeds[0]}"
    for hook in HOOK:
        hook(seeds)
    note(folder, f"begin {name}")
    match config.get("order", "").split():
        case ["raise", word]:
            raise Stopped(word)
        case ["wait", *other]:
            until(lambda: f"end {' '.join(other)}" in notes(folder))
    value = np.array(seeds) if before is None else before["value"]
    note(folder, f"end {name}")
    return {"value": 10 * value + config["digit"]}


def wrong(config, seeds):
    """A job that forgets the seeds in one of its arrays."""
    return {"fine": np.zeros((len(seeds), 2)), "total": np.zeros(3)}


def where(config, seeds):
    """The process that ran it, and the cores that it may use; returns when as many others run as well."""
    folder = Path(config["folder"])
    note(folder, f"begin {os.getpid()}")
    until(lambda: len({line for line in notes(folder) if line.startswith("begin")}) >= config["together"])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    note(folder, f"end {os.getpid()}")
    core = cores[0] if len(cores) == 1 else -1
    return {"process": np.full(len(seeds), os.getpid()), "core": np.full(len(seeds), core)}


def ordered(config, seeds):
    """The toy, doing first what the file ``config["folder"]``/<first seed> tells it to."""
    folder = Path(config["folder"])
    note(folder, f"begin {seeds[0]}")
    order = folder / str(seeds[0])
    words = order.read_text().split() if order.exists() else []
    match words:
        case ["raise", word]:
            raise Stopped(word)
        case ["after", other]:
            until(lambda: f"end {other}" in notes(folder))
        case ["die", "at", count, "files", "in", chunks]:
            until(lambda: len(list(Path(chunks).glob("*.chunk"))) >= int(count))
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        case ["hang"]:
            hang()
        case ["always", "die"]:
            os.kill(os.getpid(), signal.SIGKILL)
    result = toy(config, seeds)
    note(folder, f"end {seeds[0]}")
    return result


def hang() -> None:
    """Wait for nothing, and say so: in one piece, since all processes write to the same place."""
    os.write(1, b"hangs\n")
    until(lambda: False)


def note(folder: Path, line: str) -> None:
    """Add a line to the notes that all processes share."""
    with open(folder / "notes", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def notes(folder: Path) -> list[str]:
    """The lines noted so far."""
    return (folder / "notes").read_text("utf-8").splitlines() if (folder / "notes").exists() else []


def until(condition) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def origin(variable: str) -> tuple:
    """This process's parent and how many threads that has, whether TensorFlow is there, and a variable."""
    parent = os.getppid()
    threads = len(os.listdir(f"/proc/{parent}/task"))
    return parent, threads, "tensorflow" in sys.modules, os.environ.get(variable)


def threads() -> list:
    """What TensorFlow is set to in this process: within and between operations, and the libraries'."""
    from lib.backend import tf

    setting = tf.config.threading
    within, between = setting.get_intra_op_parallelism_threads(), setting.get_inter_op_parallelism_threads()
    return [within, between, os.environ["OMP_NUM_THREADS"]]
