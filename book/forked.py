"""A kernel in a process that was forked; it imports no more than it has to."""

import os
import signal

from lib.ensembles import places


def serve(given: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be a kernel, as ``python -m ipykernel_launcher`` is one."""
    os.setsid()  # an interrupt of the terminal is for the parent
    os.chdir(folder)
    places.settle(environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    from ipykernel import kernelapp  # is there, where kernels are forked

    kernelapp.launch_new_instance(argv=given)
