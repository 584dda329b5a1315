"""Kernels of chapters: reached by local sockets, and forked where this process is one of many that run them.

What a chapter imports takes a third of a small run. A kernel that is forked has it from the start; what is
the book's own it imports itself, as any other, so that no edit is missed.
"""

import os
import uuid
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import LocalProvisioner
from jupyter_core.paths import jupyter_runtime_dir
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from traitlets import default

from book import contents, forked
from lib.ensembles import places

ENGINE = "sgd-book"  # papermill's name of `_SavedOnce`
_SOCKET_LENGTH = 100  # some systems allow 104 bytes for the path of a local socket
_IMPORTED = (*places.TENSORFLOW, "pandas", "scipy.stats", "matplotlib.pyplot", "ipykernel.kernelapp")


class _SavedOnce(NBClientEngine):
    """Papermill's own engine, which saves the whole notebook before and after each cell: here in the end."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, *words: Any, **options: Any) -> None:
        nb_man.save = lambda **_: None
        try:
            super().execute_managed_notebook(nb_man, *words, **options)
        finally:
            del nb_man.save  # also of a kernel that died


papermill_engines.register(ENGINE, _SavedOnce)


def manager(chunks: Path, root: Path) -> type[AsyncKernelManager]:
    """The manager of a kernel of a project's chapter, which reports its chunks in a file."""
    # another project has another library
    kind = _Forked if places.is_alone() and root == contents.ROOT else _Local
    return type("_Kernel", (kind,), {"chunks": str(chunks)})


class _Local(AsyncKernelManager):
    """A kernel reached by local sockets: no port to race for, nobody else on the machine can connect."""

    chunks = ""  # file in which the engine reports them

    @property
    def kernel_spec(self) -> KernelSpec:
        """This Python, whatever kernel the user has registered under the same name."""
        # TensorFlow's start-up notes would be stderr output
        variables = {"TF_CPP_MIN_LOG_LEVEL": "3", "SGD_BOOK_PROGRESS": self.chunks}
        return KernelSpec(**get_kernel_dict(), env=variables)

    @default("connection_file")
    def _connection_file(self) -> str:
        # its name is also that of the sockets: kernels without one, in one folder, take each other's
        folder = Path(jupyter_runtime_dir())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(folder / f"kernel-{uuid.uuid4()}.json")

    @default("transport")
    def _transport(self) -> str:
        longest = Path(jupyter_runtime_dir(), f"kernel-{'0' * 36}-ipc-5")
        return "ipc" if os.name == "posix" and len(os.fsencode(longest)) < _SOCKET_LENGTH else "tcp"


class _Forked(_Local):
    """One that has imported already what all chapters import."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # not by an entry point, which would offer it to every kernel of this Python
        self.provisioner = _Provisioner(
            kernel_id=str(uuid.uuid4()), kernel_spec=self.kernel_spec, parent=self
        )


class _Provisioner(LocalProvisioner):
    async def launch_kernel(self, cmd: list[str], **options: Any) -> dict[str, Any]:
        given = cmd[cmd.index("ipykernel_launcher") + 1 :]
        process = places.fork(
            _IMPORTED, forked.serve, given, options.get("cwd") or os.getcwd(), dict(options["env"])
        )
        if process is None:
            return await super().launch_kernel(cmd, **options)
        self.process, self.pid, self.pgid = _Process(process), process.pid, process.pid
        return self.connection_info


class _Process:
    """A process of multiprocessing with the words of subprocess."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        self.process, self.pid = process, process.pid
        self.terminate, self.kill = process.terminate, process.kill

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)
