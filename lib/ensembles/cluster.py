"""A Dask cluster as a place to compute: its workers are first compared with this machine.

No file system is shared with the workers. Plain data goes to them and plain data comes back; what they need
beside it, this project and the images, each must have itself, and the same to the byte. A worker that differs
is refused by name, whether it is there at the start or comes later.

Dask is an extra of the project (`INSTALL`). Nothing here imports TensorFlow: a worker's threads have to be
set before that.
"""

import functools
import logging
import re
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

from lib import data
from lib.ensembles import machine, places, sources, store

INSTALL = 'pip install -r requirements-cluster.txt  (or: pip install -e ".[cluster]")'
_ANSWER_SECONDS = 8


def check_address(option: str, address: str) -> None:
    """See that a scheduler's address is one.

    Raises:
        ValueError: It has another form; names the option that it was given by.
    """
    if not re.fullmatch(r"(tcp|tls|ws|wss)://\S+:\d+", address):
        raise ValueError(f"{option}: got {address!r}, wanted an address like tcp://host:8786")


# ---- on a worker -----------------------------------------------------------------------------------------


def facts(packages: tuple[str, ...]) -> dict[str, str]:
    """What has to be the same wherever parts of one result are computed.

    It is `machine.environment` of these packages, a hash of this library's code, and one of the data's
    content (or why there is none).
    """
    try:
        content = _content()
    except (OSError, ValueError, RuntimeError) as error:
        content = f"none: {' '.join(str(error).split())}"
    return {**machine.environment(packages), "lib": _library(), "data": content}


@functools.cache  # once in a process: what it has imported does not follow its files
def _library() -> str:
    files = sorted((store.ROOT / "lib").rglob("*.py"))
    found = [[path.relative_to(store.ROOT).as_posix(), sources.meaning(path.read_bytes())] for path in files]
    return store.digest(found)


@functools.cache
def _content() -> str:
    return data.content_hash(data.load())


def differences(wanted: Mapping[str, str], has: Mapping[str, str]) -> list[str]:
    """What a worker has otherwise than wanted, in words; empty when all is the same."""
    return [
        f"{name}: has {_short(has.get(name, 'nothing'))}, wanted {_short(value)}"
        for name, value in wanted.items()
        if has.get(name) != value
    ]


def _short(value: str) -> str:
    return value[:12] + "…" if re.fullmatch("[0-9a-f]{64}", value) else value


def call(wanted: Mapping[str, str], packages: tuple[str, ...], *what: Any) -> Any:
    """On a worker: `places.call`, whose module is only imported when the threads are set.

    Raises:
        Lost: When the worker's `facts` are not those wanted.
    """
    places.alone()
    if different := differences(wanted, facts(packages)):
        from distributed import get_worker

        raise places.Lost("\n".join(f"worker {get_worker().address}: {line}" for line in different))
    return places.call(*what)


# ---- on this machine -------------------------------------------------------------------------------------


class Cluster(places.Place):
    """A Dask cluster whose workers are like this machine: a place to compute."""

    def __init__(self, address: str, same_processor: bool) -> None:
        """Connects, and compares all workers that are there.

        Args:
            address: Of the scheduler, e.g. ``tcp://host:8786``.
            same_processor: Whether workers must have this machine's processor too.

        Raises:
            ValueError: The address is none.
            places.Lost: Dask is not installed, no scheduler answers within some seconds, or a worker differs;
                every difference of every worker is listed.
        """
        check_address("scheduler", address)
        try:
            from distributed import Client
        except ImportError:
            raise places.Lost(f"a scheduler needs Dask, which is not installed: {INSTALL}") from None
        self.address = address
        _silence()
        self._client = self._connected(Client)
        self._executor = self._client.get_executor(pure=False)
        try:
            # whose versions count: those that the requirements pin, and Dask's own
            self._packages = (*machine.pinned(store.ROOT), "dask", "distributed")
            self._wanted = facts(self._packages)
            if not same_processor:
                self._wanted.pop("processor")
            self._compare()
        except BaseException:
            self.close()
            raise

    def _connected(self, kind: Any) -> Any:
        """The client; what answers at a port but is no scheduler would keep it for minutes."""
        found: Future = Future()

        def connect() -> None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of versions that differ: compared below, and refused
                    found.set_result(kind(self.address, timeout=_ANSWER_SECONDS, set_as_default=False))
            except Exception as error:
                found.set_exception(error)

        threading.Thread(target=connect, daemon=True).start()
        try:
            return found.result(_ANSWER_SECONDS + 1)
        except Exception as error:
            why = error if found.done() else f"not in {_ANSWER_SECONDS + 1} seconds"
            raise places.Lost(f"no scheduler answers at {self.address}: {why}") from None

    def _compare(self) -> None:
        there = self._threads()
        faults = [
            f"worker {address}: has {threads} threads, wanted 1 (dask worker --nthreads 1 --nworkers N)"
            for address, threads in there.items()
            if threads != 1
        ]
        asked = {
            address: self._client.submit(facts, self._packages, workers=[address], pure=False)
            for address in there
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
            raise places.Lost(f"workers of {self.address} are not like this machine\n" + "\n".join(faults))

    def _threads(self) -> dict[str, int]:
        """Threads of each worker, by its address."""
        try:
            return self._client.nthreads()
        except (OSError, CancelledError, ValueError):
            raise self._gone() from None

    def _gone(self) -> places.Lost:
        return places.Lost(f"the scheduler at {self.address} is gone")

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._threads())

    def submit(self, module: str, name: str, *arguments: Any) -> Future:
        """Have a worker call a function; Dask has another one do so when its own one dies."""
        return self._executor.submit(call, self._wanted, self._packages, module, name, *arguments)

    def check(self) -> None:
        """Raises `places.Lost` when the scheduler is gone."""
        if self._client.status != "running":
            raise self._gone()

    def close(self) -> None:
        """Leave the cluster; what it still computes is dropped."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client.close(timeout=2)


def _silence() -> None:
    """What Dask has to say of a lost connection, at length, is said here in a line."""
    for name in ["distributed", "tornado", "asyncio", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
