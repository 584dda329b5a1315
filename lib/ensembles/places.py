"""Where tasks are computed, and the one loop that has them computed there.

A place is the processes of this machine, a Dask cluster (`lib.ensembles.cluster`), or this process itself
where it is one of many. A process that computes has one thread, set before anything is imported; where cores
are free it has one to itself, which keeps its networks in that core's cache: measured, two such processes
train a third more networks than two threads of one process. Nothing here imports TensorFlow.
"""

import atexit
import fcntl
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from lib.ensembles import machine

ONE_THREAD = "SGD_BOOK_ONE_THREAD"  # as in lib.backend, which imports TensorFlow
SCHEDULER = "SGD_BOOK_SCHEDULER"  # address of the scheduler that computes the chunks of ensembles
RESTARTS = 3  # of lost workers, with no task ended in between


class Lost(RuntimeError):
    """The place to compute cannot be used, or was lost; the message says why."""


class Task(NamedTuple):
    """A call to compute somewhere.

    Attributes:
        module: Dotted name of the function's module.
        name: Of the function.
        arguments: Gives its arguments, plain data, when its turn has come.
        after: Name of the task that must have ended before, and have been taken.
    """

    module: str
    name: str
    arguments: Callable[[], tuple]
    after: Hashable = None


class Place:
    """Somewhere to compute.

    Attributes:
        workers: How many tasks are computed at once; 0 where nobody is there now.
    """

    workers: int

    def submit(self, module: str, name: str, *arguments: Any) -> Future:
        """Have a function called; a BrokenExecutor means that workers were lost."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises `Lost` where the place is gone for good."""

    def again(self) -> None:
        """Start new workers in the place of lost ones, where the place does not do so itself."""

    def close(self) -> None:
        """Drop what is being computed: nobody waits for it."""


def results(
    place: Place,
    tasks: Mapping[Hashable, Task],
    tell: Callable[[int, str], None] = lambda under, trouble: None,
    ahead: int = 1,
) -> Iterator[tuple[Hashable, Any]]:
    """What tasks give, as it comes; whoever takes one keeps it before asking for the next.

    Work of a lost worker is done again. What is not taken to the end is dropped.

    Args:
        place: Where they are computed.
        tasks: By name; those that others come after stand before them.
        tell: Called at least every second with the number under way, and what is the matter, if anything.
        ahead: Tasks under way for each worker.

    Yields:
        Pairs (name, what the function returned or the exception that it raised).

    Raises:
        Lost: The place is gone, or workers are lost again and again.
    """
    waiting, missing, running, breaks = dict(tasks), set(tasks), {}, 0
    try:
        while missing:
            try:
                there = place.workers
                ready = [name for name, task in waiting.items() if task.after not in missing]
                for name in ready[: max(0, ahead * there - len(running))]:
                    module, function, arguments, _ = waiting[name]
                    running[place.submit(module, function, *arguments())] = name
                    del waiting[name]
                tell(len(running), "" if there else "waiting for a worker")
                ended, _ = futures.wait(running, 1.0 if running else 0, futures.FIRST_COMPLETED)
                if not running:
                    threading.Event().wait(1.0)
                place.check()
                for future in ended:
                    outcome = _outcome(future)
                    breaks, name = 0, running.pop(future)
                    yield name, outcome
                    missing.remove(name)
            except BrokenExecutor:
                breaks += 1
                place.again()
                if breaks > RESTARTS:
                    raise Lost(
                        f"processes that compute were ended from outside {breaks} times, for lack of "
                        "memory perhaps; what was finished is kept: run again"
                    ) from None
                for name in running.values():
                    waiting[name] = tasks[name]
                waiting = {name: waiting[name] for name in tasks if name in waiting}
                running.clear()
    except BaseException:  # an interrupt among them, and whoever takes no more: nobody waits for the rest
        place.close()
        raise


def _outcome(future: Future) -> Any:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except futures.CancelledError:
        raise Lost("what was to compute was cancelled") from None
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # Dask's own kind, which is not there where Dask is not
            return error
        words = "every worker that took it was ended from outside, for lack of memory perhaps"
        return RuntimeError(f"{words} (the last one: {error.last_worker.address})")


def call(module: str, name: str, *arguments: Any) -> Any:
    """Call a function of a module, in the process that computes."""
    return getattr(importlib.import_module(module), name)(*arguments)


def alone() -> None:
    """Make this process one of many that share the machine: one thread, and no cluster of its own."""
    os.environ.update(_ALONE)
    os.environ.pop(SCHEDULER, None)


_ALONE = {ONE_THREAD: "1", **dict.fromkeys(machine.THREADS, "1")}


def is_alone() -> bool:
    """Whether this process is itself one of many, so that it computes what it needs."""
    return ONE_THREAD in os.environ


class Itself(Place):
    """This process, where it is one of many."""

    workers = 1

    def submit(self, module: str, name: str, *arguments: Any) -> Future:
        """Calls it at once."""
        future: Future = Future()
        try:
            future.set_result(call(module, name, *arguments))
        except Exception as error:
            future.set_exception(error)
        return future


class Processes(Place):
    """Processes of this machine; started once and used again, since starting TensorFlow takes seconds."""

    def __init__(self, workers: int, train: bool = False) -> None:
        """Starts nothing yet.

        Args:
            workers: How many.
            train: Whether they use TensorFlow, which `prepare` then imports once for all.
        """
        self.workers, self.train = workers, train

    def submit(self, module: str, name: str, *arguments: Any) -> Future:
        """Have a process call a function."""
        with _starting():
            if self.workers not in _pools:
                # not a fork of this process: it would copy TensorFlow's threads in an undefined state
                context = self.train and _server(TENSORFLOW) or multiprocessing.get_context("spawn")
                _pools[self.workers] = ProcessPoolExecutor(self.workers, context, _start, (dict(os.environ),))
            return _pools[self.workers].submit(call, module, name, *arguments)

    def close(self) -> None:
        """End the processes, whose work is no longer wanted."""
        gone = _pools.pop(self.workers, None)
        if gone is not None:
            processes = list((gone._processes or {}).values())  # no public way before Python 3.14
            for process in processes:
                process.terminate()
            gone.shutdown(wait=False, cancel_futures=True)
            for process in processes:  # who follows wants their cores
                wait_for([process.sentinel], 5)

    again = close


_pools: dict[int, ProcessPoolExecutor] = {}


def prepare() -> None:
    """Begin to import TensorFlow for the processes that train, aside; elsewhere than here nothing is done."""
    if not is_alone() and SCHEDULER not in os.environ:
        with _starting():
            _server(TENSORFLOW)


def fork(modules: Sequence[str], function: Callable, *arguments: Any) -> BaseProcess | None:
    """A process of its own that calls a function, forked from one that has imported some modules.

    Args:
        modules: Dotted names; those of this process's first call are the ones.
        function: Of a module.
        *arguments: For it, plain data.

    Returns:
        The process, started; None where processes cannot be forked (`_server`).
    """
    with _starting():
        process = (server := _server(modules)) and server.Process(target=function, args=arguments)
        if process:
            process.start()
    return process


TENSORFLOW = ("lib.imported",)
_serving: list[str] = []  # `machine.variables` when the process was started that others are forked from


def _server(modules: Sequence[str]) -> BaseContext | None:
    """Starts processes by forking one that imports these modules, once for all, and has one thread.

    None with other variables than it was started with, since TensorFlow may have read them; where forked
    processes are not safe; and in a daemon, as Dask's workers are, which may have none.
    """
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return None
    server = multiprocessing.get_context("forkserver")
    if not _serving:
        server.set_forkserver_preload([*modules])
        _serving.append(machine.variables())
    try:
        forkserver.ensure_running()
    except OSError:  # the folder of temporary files has too long a name for a socket
        return None
    return server if _serving == [machine.variables()] else None


@contextmanager
def _starting() -> Iterator[None]:
    """Around what may start processes: what these find when they begin.

    Their variables are there before they import anything. They do not run the main script again, so that it
    needs no guard: they call functions of modules only. Ctrl-C waits meanwhile and is not for them; one half
    started would print a traceback.
    """
    environment, main = dict(os.environ), sys.modules["__main__"]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        alone()
        sys.modules["__main__"] = types.ModuleType("__main__")
        yield
    finally:
        sys.modules["__main__"] = main
        for name in (*_ALONE, SCHEDULER):
            os.environ.pop(name, None)
            if name in environment:
                os.environ[name] = environment[name]
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(environment: Mapping[str, str]) -> None:
    """Begin a process that computes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the parent, which then ends its workers
    atexit.register(os._exit, 0)  # last of all: TensorFlow would take half a second to take itself down
    settle(environment)
    _take_core()


def settle(environment: Mapping[str, str]) -> None:
    """In a process that was forked: have these variables alone, and end when the parent was killed."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # found by them
    sentinel = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (wait_for([sentinel]), os._exit(1)), daemon=True).start()


_held: list = []  # the lock of this process's core, until it ends


def _take_core() -> None:
    """Bind this process to a core that no other one of this user's has taken; to none where all are taken."""
    if not hasattr(os, "sched_setaffinity"):
        return
    folder = Path(tempfile.gettempdir(), f"sgd-book-cores-{os.getuid()}")
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        for core in machine.cores():
            lock = open(folder / str(core), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            _held.append(lock)
            os.sched_setaffinity(0, {core})
            return
