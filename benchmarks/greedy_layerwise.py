"""Time this project's engine beside other ways to train the networks of greedy layer-wise training.

Run ``python benchmarks/greedy_layerwise.py``; README.md beside this file says what is timed, and how.

The recipe: 784-100-100-100-10, tanh, softmax, cross-entropy summed over a batch of 50, 1000 steps of plain
gradient descent at rate 0.01 (0.003 from step 750), 1000 images cycled in fixed order, weights from a normal
of sd 0.1 cut at 2 sd, biases 0.1, float32; then the accuracy on the 10,000 test images.
"""

import itertools
import sys
from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import side_by_side as side
from side_by_side import Contestant, Measure, Problem, SeededTrain

SIZES = (784, 100, 100, 100, 10)
SHAPES = tuple(itertools.pairwise(SIZES))
BATCH, STEPS, DROP = 50, 1000, 750  # the rate falls at step DROP, counted from 0
RATE, LATE_RATE = 0.01, 0.003
SD, BIAS = 0.1, 0.1
FIRST_IMAGE, IMAGES = 5000, 1000  # of the training file
FLOPS = side.dense_flops(SIZES, BATCH, STEPS)
LEARNED = (0.84, 0.90)  # test accuracy of each network; 0.879 +- 0.003 when the recipe is followed


# --- the recipe ---


@cache
def problem() -> Problem:
    """Give the recipe's training images and the test images, float32 (N, 784), 0 to 1; labels int32 (N,)."""
    from lib import data

    m = data.load()
    x, y = data.subset(m, FIRST_IMAGE, IMAGES)
    labels, labels_test = (a.astype(np.int32) for a in (y, m.y_test))
    return Problem(data.scale(x, 255), labels, data.scale(m.x_test, 255), labels_test)


def starts() -> list[int]:
    """First image of each batch of one cycle."""
    return list(range(0, IMAGES, BATCH))


def rate(step: int) -> float:
    """Learning rate at a step, counted from 0."""
    return RATE if step < DROP else LATE_RATE


# --- the contestants; each start_ function runs in a process of its own ---


def run_ours(networks: int) -> Sequence[float]:
    """Train networks by the recipe with this project's engine.

    It runs in a process of its own whose environment holds no thread settings. The first call, with the same
    number of networks as all later ones, is not timed: build graphs and start processes there, and keep them.

    Args:
        networks: How many, at least 1.

    Returns:
        Test accuracy of each network, 0 to 1; at least as many as asked.
    """
    from lib.ensembles import ensemble
    from lib.questions import staged

    stage = staged.Stage(3, ((DROP, RATE), (STEPS - DROP, LATE_RATE)))
    recipe = staged.recipe([stage], images=(FIRST_IMAGE, IMAGES), sizes=SIZES, sd=SD, bias=BIAS, batch=BATCH)
    results = side.engine(staged.job, recipe, networks, ensemble.CHUNK)
    return staged.unpack(results["correct"]).mean(axis=1)


def start_keras_fit() -> Measure:
    # Tried, in seconds per network on two cores: 3.5 with a new model, arrays and 50 epochs; 3.2 with the
    # model used again; 2.8 with 20 steps in one execution; 1.2 with all cycles as a dataset of one epoch,
    # one step in one execution; 0.7 with 20 and 100 steps, as here. XLA (jit_compile) and one thread were
    # no faster.
    import keras
    import tensorflow as tf

    side.tensorflow_threads(len(side.cores()))
    p = problem()
    # with a plain integer seed, Keras would draw the same numbers for every layer and every network
    normal = keras.initializers.TruncatedNormal(stddev=SD, seed=keras.random.SeedGenerator(0))
    model = keras.Sequential([keras.Input((SIZES[0],))])
    for layer, (_, h) in enumerate(SHAPES):
        tanh = "tanh" if layer < len(SHAPES) - 1 else None
        model.add(keras.layers.Dense(h, tanh, kernel_initializer=normal))
    # the boundary itself still has the first rate
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([DROP - 1], [RATE, LATE_RATE])
    model.compile(
        optimizer=keras.optimizers.SGD(rates),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
        steps_per_execution=100,
        jit_compile=False,
    )
    cycle = tf.data.Dataset.from_tensor_slices((p.x, p.y)).batch(BATCH, drop_remainder=True).cache()
    steps = cycle.repeat(STEPS // len(starts())).prefetch(8)

    def renew():
        for layer in model.layers:
            layer.kernel.assign(normal(layer.kernel.shape))
            layer.bias.assign(np.full(layer.bias.shape, BIAS, np.float32))
        model.optimizer.iterations.assign(0)

    return side.keras_fit(model, renew, p, steps)


def start_tf1_session() -> Measure:
    # The source's graph and loop. Tried: one thread against two (0.73 and 0.79 s per network), one session
    # with the variables drawn anew against the source's session per network (0.62 and 0.73): the faster of
    # each here.
    import tensorflow as tf

    tf1 = tf.compat.v1
    tf1.disable_eager_execution()
    tf1.set_random_seed(0)
    p = problem()
    hot, hot_test = (np.eye(SIZES[-1], dtype=np.float32)[y] for y in (p.y, p.y_test))

    x = tf1.placeholder("float", shape=[None, SIZES[0]])
    y_ = tf1.placeholder("float", shape=[None, SIZES[-1]])
    lr = tf1.placeholder("float")
    h = x
    for layer, shape in enumerate(SHAPES):
        w = tf1.Variable(tf1.truncated_normal(shape, stddev=SD))
        b = tf1.Variable(tf.constant(BIAS, shape=[shape[1]]))
        h = (tf.nn.tanh if layer < len(SHAPES) - 1 else tf.nn.softmax)(tf.matmul(h, w) + b)
    step = tf1.train.GradientDescentOptimizer(lr).minimize(-tf.reduce_sum(y_ * tf1.log(h)))
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(h, 1), tf.argmax(y_, 1)), "float"))
    draw = tf1.global_variables_initializer()
    one_thread = tf1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    session = tf1.Session(config=one_thread)

    def one() -> list[float]:
        session.run(draw)
        for i in range(STEPS):
            start = (BATCH * i) % IMAGES
            end = start + BATCH
            session.run(step, {x: p.x[start:end], y_: hot[start:end], lr: rate(i)})
        return [session.run(accuracy, {x: p.x_test, y_: hot_test})]

    return side.timed(side.repeated(one))


def start_torch(compiled: bool) -> Measure:
    # Tried: chunks of 4, 8, 16, 32 (about 0.5, 0.33, 0.28, 0.30 s per network); weights as (out, in)
    # against (in, out) and update in place against new tensors (a tenth slower each, in a single trial);
    # labels against one-hot rows (no clear difference); one thread (0.59). libgomp's passive waiting costs
    # 0.43 on idle cores, though it loses less on busy ones. Compiled, chunks of 8 and 16 take 0.20 and
    # 0.21, after some 17 s of compiling, and need a C++ compiler: hence a contestant of its own.
    import torch
    from torch.func import grad, vmap
    from torch.nn import functional

    if compiled:
        side.want_compiler()
    chunk = 8 if compiled else 16
    torch.set_num_threads(len(side.cores()))
    torch.manual_seed(0)
    p = problem()
    x, x_test = torch.from_numpy(p.x), torch.from_numpy(p.x_test)
    y, y_test = torch.from_numpy(p.y).long(), torch.from_numpy(p.y_test)
    batches = [(x[s : s + BATCH], y[s : s + BATCH]) for s in starts()]

    def draw():
        normal = partial(torch.nn.init.trunc_normal_, std=SD, a=-2 * SD, b=2 * SD)
        biases = [torch.full((chunk, h), BIAS) for _, h in SHAPES]
        return [normal(torch.empty(chunk, h, d)) for d, h in SHAPES], biases

    def logits(weights, x):
        for layer, (w, b) in enumerate(zip(*weights, strict=True)):
            x = functional.linear(torch.tanh(x) if layer else x, w, b)
        return x

    def loss(weights, x, y):
        return functional.cross_entropy(logits(weights, x), y, reduction="sum")

    gradient = vmap(grad(loss), in_dims=(0, None, None))

    def update(weights, x, y, lr):
        pairs = zip(weights, gradient(weights, x, y), strict=True)
        return tuple([a - lr * g for a, g in zip(*pair, strict=True)] for pair in pairs)

    def update_in_place(weights, x, y, lr):
        for a, g in zip(weights, gradient(weights, x, y), strict=True):
            torch._foreach_add_(a, g, alpha=-lr)
        return weights

    step = torch.compile(update) if compiled else update_in_place
    # compiled code would be compiled again for each new Python number, not for a tensor's value
    rates = [torch.tensor(rate(i)) if compiled else rate(i) for i in range(STEPS)]
    accuracy = vmap(lambda weights: (logits(weights, x_test).argmax(1) == y_test).float().mean())

    @torch.no_grad()
    def train_chunk() -> list[float]:
        weights = draw()
        for i in range(STEPS):
            weights = step(weights, *batches[i % len(batches)], rates[i])
        return accuracy(weights).tolist()

    return side.timed(side.repeated(train_chunk))


def jax_training(chunk: int) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them in chunks, by compiled code."""
    # Tried: chunks of 1, 2, 4, 8, 16, 32, 50 (0.31, 0.36, 0.32, 0.23, 0.22, 0.25, 0.25 s per network). No
    # difference beyond noise: a batch by slice, by index into (20, 50, 784) or by gathered rows; first
    # layers side by side in memory; the loop inside vmap; XLA's options for fast math, 512-bit vectors,
    # oneDNN and XNNPACK. On one core a chunk of 1 is the fastest: 0.30 s per network, against 0.34, 0.31,
    # 0.31 and 0.31 in chunks of 2, 4, 8 and 16.
    import jax
    from jax import lax
    from jax import numpy as jnp

    p = Problem(*(jnp.asarray(a) for a in problem()))
    hot = jax.nn.one_hot(p.y, SIZES[-1])

    def draw(key):
        keys = jax.random.split(key, len(SHAPES))
        normal = [SD * jax.random.truncated_normal(k, -2, 2, s) for k, s in zip(keys, SHAPES, strict=True)]
        return [(w, jnp.full(w.shape[1], BIAS)) for w in normal]

    def logits(weights, x):
        for layer, (w, b) in enumerate(weights):
            x = (jnp.tanh(x) if layer else x) @ w + b
        return x

    def update(weights, x, y, lr):
        gradient = jax.grad(lambda weights: -jnp.sum(y * jax.nn.log_softmax(logits(weights, x))))
        return jax.tree.map(lambda w, g: w - lr * g, weights, gradient(weights))

    def step(i, weights):
        start = BATCH * i % IMAGES
        x, y = (lax.dynamic_slice_in_dim(a, start, BATCH) for a in (p.x, hot))
        lr = jnp.where(i < DROP, RATE, LATE_RATE)
        return jax.vmap(update, in_axes=(0, None, None, None))(weights, x, y, lr)

    def accuracy(weights):
        return jnp.mean(jnp.argmax(logits(weights, p.x_test), axis=1) == p.y_test)

    @jax.jit
    def train_chunk(keys):
        return lax.map(accuracy, lax.fori_loop(0, STEPS, step, jax.vmap(draw)(keys)))

    def train(seed: int, networks: int) -> list[float]:
        chunks = -(-networks // chunk)
        keys = jax.random.split(jax.random.key(seed), (chunks, chunk))
        return [a for k in keys for a in np.asarray(train_chunk(k)).tolist()]

    return train


CONTESTANTS = {
    "keras-fit": Contestant(start_keras_fit, ("tensorflow", "keras"), 3),
    "tf1-session": Contestant(start_tf1_session, ("tensorflow",), 3),
    "torch-vmap": Contestant(partial(start_torch, False), ("torch",), 16, 1, side.OMP),
    "torch-compiled": Contestant(partial(start_torch, True), ("torch",), 8, 1, side.OMP),
    "jax-vmap": Contestant(side.alone(jax_training, 16), ("jax",), 32),
    "jax-processes": Contestant(side.in_processes(jax_training, 1), ("jax",), 32, loads=False),
    "ours": Contestant(
        partial(side.timed, run_ours), ("lib.questions.staged", "lib.ensembles.ensemble"), 64, 0
    ),
    "floor": side.floor(FLOPS, np.float32),
}


if __name__ == "__main__":
    sys.exit(side.main(side.Benchmark(__file__, __doc__, problem, CONTESTANTS, LEARNED, FLOPS)))
