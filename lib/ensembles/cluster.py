"""A Dask cluster as a place to compute: its workers are first compared with this machine.

No file system is shared with the workers. Plain data goes to them and plain data comes back; what they need
beside it, this project and the images, each must have itself, and the same to the byte. A worker that differs
is refused by name, whether it is there at the start or comes later.

Dask is an extra of the project (`INSTALL`). Nothing here imports TensorFlow: a worker's threads have to be
set before that.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import logging
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from typing import Any

from lib import data
from lib.ensembles import store, worker

INSTALL = 'pip install -r requirements-cluster.txt  (or: pip install -e ".[cluster]")'
SCHEDULER = "SGD_BOOK_SCHEDULER"  # address of the scheduler that computes the chunks of ensembles
_ANSWER_SECONDS = 10
_REQUIREMENTS = ("requirements.txt", "constraints.txt")
# libraries under NumPy start threads of their own; results may depend on how many
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ClusterError(RuntimeError):
    """The cluster cannot be used, or was lost; the message says why."""


# ---- on a worker -----------------------------------------------------------------------------------------


def alone() -> None:
    """Make this process one of many that share the machine: one thread, and no cluster of its own."""
    os.environ.update({worker.ONE_THREAD: "1", **dict.fromkeys(_THREADS, "1")})
    os.environ.pop(SCHEDULER, None)


def facts(packages: tuple[str, ...]) -> dict[str, str]:
    """What has to be the same wherever parts of one result are computed.

    Args:
        packages: whose versions count.

    Returns:
        Python's version, those of the packages, hashes of this project's text and of the data's content (or
        why there is none), and the name of the processor.
    """
    try:
        content = _content()
    except (OSError, ValueError, RuntimeError) as error:
        content = f"none: {' '.join(str(error).split())}"
    return {
        "Python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "lib and requirements": _text(),
        "data": content,
        "processor": store.processor(),
    }


@functools.cache  # once in a process: what it has imported does not follow its files
def _text() -> str:
    text = hashlib.sha256()
    for file in [*sorted((store.ROOT / "lib").rglob("*.py")), *(store.ROOT / name for name in _REQUIREMENTS)]:
        if file.is_file():
            text.update(f"{file.relative_to(store.ROOT)}\n".encode() + file.read_bytes())
    return text.hexdigest()


@functools.cache
def _content() -> str:
    return data.content_hash(data.load())


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def differences(wanted: Mapping[str, str], has: Mapping[str, str]) -> list[str]:
    """What a worker has otherwise than wanted, in words; empty when all is the same."""
    return [
        f"{name}: has {_short(has.get(name, 'nothing'))}, wanted {_short(value)}"
        for name, value in wanted.items()
        if has.get(name) != value
    ]


def _short(value: str) -> str:
    return value[:12] + "…" if re.fullmatch("[0-9a-f]{64}", value) else value


def call(
    wanted: Mapping[str, str], packages: tuple[str, ...], module: str, name: str, *arguments: Any
) -> Any:
    """On a worker: call a function of a module, which is only imported when the threads are set.

    Args:
        wanted: the facts that this worker must have.
        packages: as for `facts`.
        module: dotted name.
        name: of the function in it.
        *arguments: of the function, plain data.

    Raises:
        ClusterError: when the worker's facts are others.
    """
    alone()
    if different := differences(wanted, facts(packages)):
        raise ClusterError("\n".join(f"worker {_here()}: {line}" for line in different))
    return getattr(importlib.import_module(module), name)(*arguments)


def _here() -> str:
    from distributed import get_worker

    return get_worker().address


# ---- on this machine -------------------------------------------------------------------------------------


class Cluster:
    """A Dask cluster whose workers are like this machine; a context manager."""

    def __init__(
        self, address: str, same_processor: bool, say: Callable[[str], None] = lambda text: None
    ) -> None:
        """Connects, waits for a first worker, and compares all that are there.

        Args:
            address: of the scheduler, e.g. ``tcp://host:8786``.
            same_processor: whether workers must have this machine's processor too.
            say: takes the message that a worker is being waited for.

        Raises:
            ClusterError: Dask is not installed, the scheduler does not answer, or a worker differs; every
                difference of every worker is listed.
        """
        try:
            from distributed import Client
        except ImportError:
            raise ClusterError(f"a scheduler needs Dask, which is not installed: {INSTALL}") from None
        if not re.fullmatch(r"(tcp|tls|ws|wss)://\S+:\d+", address):
            raise ClusterError(f"scheduler: got {address!r}, wanted an address like tcp://host:8786")
        self.address = address
        _silence()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions that differ: compared below, and refused
                self._client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"no scheduler answers at {address}: {error}") from None
        self._executor = self._client.get_executor(pure=False)
        try:
            self._packages = _packages()
            self._wanted = facts(self._packages)
            if not same_processor:
                self._wanted = {name: value for name, value in self._wanted.items() if name != "processor"}
            self._compare(say)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Cluster":
        """The cluster."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        self.close()

    def close(self) -> None:
        """Leave the cluster; what it still computes is dropped."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client.close(timeout=2)

    def _compare(self, say: Callable[[str], None]) -> None:
        from distributed.utils import TimeoutError as Late

        told = False
        while not self._threads():
            if not told:
                say(f"waiting for a first worker of {self.address}")
                told = True
            try:
                self._client.wait_for_workers(1, timeout=1)
            except Late:
                self._lost()
        faults = [
            f"worker {address}: has {threads} threads, wanted 1 (dask worker --nthreads 1 --nworkers N)"
            for address, threads in self._threads().items()
            if threads != 1
        ]
        asked = {
            address: self._client.submit(facts, self._packages, workers=[address], pure=False)
            for address in self._threads()
        }
        for address, future in asked.items():
            try:
                found = differences(self._wanted, future.result())
            except CancelledError:
                raise self._gone() from None
            except Exception as error:  # whatever keeps a worker from answering is its difference
                hint = "this project has to be installed on it" if isinstance(error, ImportError) else ""
                found = [f"{type(error).__name__}: {error}" + (f" ({hint})" if hint else "")]
            faults += [f"worker {address}: {line}" for line in found]
        if faults:
            raise ClusterError(f"workers of {self.address} are not like this machine\n" + "\n".join(faults))

    def _threads(self) -> dict[str, int]:
        """Threads of each worker, by its address."""
        try:
            return self._client.nthreads()
        except (OSError, CancelledError, ValueError):
            raise self._gone() from None

    def _gone(self) -> ClusterError:
        return ClusterError(f"the scheduler at {self.address} is gone")

    def _lost(self) -> None:
        if self._client.status != "running":
            raise self._gone()

    @property
    def workers(self) -> int:
        """How many workers there are now; at least one, which may yet come back."""
        return max(1, len(self._threads()))

    def submit(self, module: str, name: str, *arguments: Any) -> Future:
        """Have a worker call a function; its arguments and result are plain data.

        The function runs again on another worker when its own one dies.
        """
        return self._executor.submit(call, self._wanted, self._packages, module, name, *arguments)

    def wait(self, futures: Mapping[Future, Any], seconds: float) -> set[Future]:
        """Those of the futures that have ended, after the first has or the time is over.

        Raises:
            ClusterError: the scheduler is gone.
        """
        done, _ = wait(futures, seconds, FIRST_COMPLETED)
        self._lost()
        if any(future.cancelled() for future in done):
            raise self._gone()
        return done


def _silence() -> None:
    """What Dask has to say of a lost connection, at length, is said here in a line."""
    for name in ["distributed", "tornado", "asyncio", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def lost_worker() -> Iterator[None]:
    """Around a future's result: several workers that died with the same work, as an error of our own."""
    try:
        yield
    except Exception as error:  # Dask's own kind, which is not there where Dask is not
        if type(error).__name__ != "KilledWorker":
            raise
        words = "every worker that took it was ended from outside, for lack of memory perhaps"
        raise RuntimeError(f"{words} (the last one: {error.last_worker.address})") from None


def _packages() -> tuple[str, ...]:
    """Packages whose versions count: those that the requirements pin, and Dask's own."""
    lines = (store.ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pinned = [found[1] for line in lines if (found := re.match(r"([\w.-]+)==", line))]
    return (*pinned, "dask", "distributed")
