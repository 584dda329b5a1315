"""TensorFlow, set up once for every other module: quiet, on the processor, one thread for each operation."""

import os

from lib.imported import quiet, tf

# Set in a process that has a core to itself: TensorFlow then gets one thread in all. The name stands here and
# not in lib.ensembles.places, which sets it, since the keys of finished chunks cover what a job imports.
ONE_THREAD = "SGD_BOOK_ONE_THREAD"

with quiet():
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
