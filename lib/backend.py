"""TensorFlow, set up once for every other module: quiet, on the processor, one thread for each operation."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Set in a process that has a core to itself: TensorFlow then gets one thread in all. The name stands here and
# not in lib.ensembles.places, which sets it, since the keys of finished chunks cover what a job imports.
ONE_THREAD = "SGD_BOOK_ONE_THREAD"


@contextmanager
def _quiet() -> Iterator[None]:
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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _quiet():
    with _keras_later():
        import tensorflow as tf
    try:
        tf.config.set_visible_devices([], "GPU")  # nothing here was measured on one
        # Parallel work goes across chunks of networks instead (lib.ensembles): for small networks that is
        # faster, and no result depends on the number of cores. TensorFlow refuses once it has run anything;
        # then the user's own setting stands.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        if ONE_THREAD in os.environ:
            tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass
    tf.get_logger().setLevel("ERROR")  # a new graph for each shape of network is meant, not a mistake
    tf.zeros(())  # the first operation has announcements of its own

__all__ = ["tf"]
