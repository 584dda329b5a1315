"""This machine, as far as results depend on it: processor, versions, variables; and its cores."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("numpy", "scipy", "tensorflow")
REQUIREMENTS = ("requirements.txt", "constraints.txt")
# Variables that choose other arithmetic; some of each family were seen to change bits.
_FAMILIES = ("TF_", "XLA_", "ONEDNN_", "DNNL_", "OPENBLAS_", "MKL_", "OMP_", "KMP_", "CUDA_", "NVIDIA_TF32_")
# How many threads the libraries under NumPy start; a process that computes has one, whatever is said outside.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# These choose no arithmetic; the last two are set by scikit-learn, whenever something imports it.
_QUIET = ("TF_CPP_", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")


def environment(packages: Iterable[str] = PACKAGES, anywhere: bool = False) -> dict[str, str]:
    """What results depend on beside code, data and settings, by name.

    Args:
        packages: Whose installed versions count.
        anywhere: Leave out the processor, with which results agree up to rounding.

    Returns:
        Versions of Python and the packages, processor, and variables that choose the arithmetic.
    """
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in packages},
        **({} if anywhere else {"processor": _processor()}),
        "variables": variables(),
    }


@functools.cache
def version(package: str) -> str:
    """Version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def variables() -> str:
    """The variables of this process that choose the arithmetic, as text."""
    chosen = (name for name in sorted(os.environ) if name.startswith(_FAMILIES) and name not in THREADS)
    return " ".join(f"{name}={os.environ[name]}" for name in chosen if not name.startswith(_QUIET)) or "none"


def _described() -> dict[str, str]:
    """The first processor's entries in Linux's list, empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processor() -> str:
    """Name of the processor."""
    found = _described()
    names = (found.get("model name"), found.get("CPU part"), platform.processor(), platform.machine())
    return next(filter(None, names), "unknown")


def _processor() -> str:
    """The processor by all that tells it from others of its name, which round otherwise."""
    found = _described()
    names = ("vendor_id", "CPU implementer", "cpu family", "CPU architecture", "model", "CPU part")
    number = " ".join(found[name] for name in (*names, "stepping", "CPU revision") if name in found)
    flags = " ".join(sorted((found.get("flags") or found.get("Features", "")).split()))
    return f"{processor()} {number}, flags {hashlib.sha256(flags.encode()).hexdigest()[:12]}"


def cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def at_once() -> int:
    """How many processes can compute at once: a core each, within what a container's quota allows."""
    from joblib import cpu_count  # here, for it takes a moment

    return cpu_count()


def pinned(root: Path) -> tuple[str, ...]:
    """Names of the packages that a project's requirements pin."""
    texts = [path.read_text("utf-8") for name in REQUIREMENTS if (path := root / name).is_file()]
    return tuple(sorted({*re.findall(r"^([\w.-]+)==", "\n".join(texts), re.MULTILINE)}))
