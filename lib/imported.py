"""TensorFlow, imported and no more: no thread is started yet, so that a process may be forked after it."""

import atexit
import gc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C code writes to stderr off the page, unless the block fails.

    TensorFlow announces its kernels and missing GPUs there before any log level counts, once while it is
    imported.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _keras_later() -> Iterator[None]:
    """Leave Keras to who asks for ``tf.keras``: TensorFlow's import ends with it, and takes twice as long.

    It looks for the older one instead where ``TF_USE_LEGACY_KERAS`` says so, in vain where that is not
    installed. Left alone where the user has set the variable, or has the older one.
    """
    older = "TF_USE_LEGACY_KERAS"
    if older in os.environ or importlib.util.find_spec("tf_keras"):
        yield
        return
    os.environ[older] = "1"
    try:
        yield
    finally:
        del os.environ[older]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile, and never among what is there at the end: imported modules stay.

    Otherwise that takes a tenth of the time to import TensorFlow, and of that to make its graphs later.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # a program ends as always: what asyncio has open is not complained of
        if on:
            gc.enable()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet(), _keras_later(), _uncollected():
    import tensorflow as tf

__all__ = ["quiet", "tf"]
