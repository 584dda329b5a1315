"""Worker processes, one for each core, that compute chunks.

A process to itself, bound to its core, keeps its networks in that core's cache: measured, two such processes
train a third more networks than two threads of one process. Nothing here imports TensorFlow, since its
threads have to be set before it starts.
"""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

ONE_THREAD = "SGD_BOOK_ONE_THREAD"  # as in lib.backend, which imports TensorFlow


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


_pools: dict[int, ProcessPoolExecutor] = {}


def pool(workers: int) -> ProcessPoolExecutor:
    """The pool of this many workers; started once and used again, since starting TensorFlow takes seconds."""
    if workers not in _pools:
        # spawn, not fork: a fork would copy TensorFlow's threads in an undefined state
        context = multiprocessing.get_context("spawn")
        places = context.SimpleQueue()
        for k in range(workers):
            places.put(cores()[k % len(cores())])
        _pools[workers] = ProcessPoolExecutor(workers, context, _start, (places,))
    return _pools[workers]


def restart(workers: int) -> None:
    """Forget the pool of this many workers, whose work is no longer wanted, and end its processes."""
    gone = _pools.pop(workers, None)
    if gone is None:
        return
    for process in (gone._processes or {}).values():  # no public way before Python 3.14
        process.terminate()
    gone.shutdown(wait=False, cancel_futures=True)


def _start(places) -> None:
    os.environ[ONE_THREAD] = "1"
    # an interrupt is for the parent, which then ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    place = places.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {place})
    # a worker whose parent was killed would wait for work for ever
    sentinel = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()
