"""Time this project's engine beside other ways to train Nielsen's network for one healthy epoch.

Run ``python benchmarks/broken_net_recovery.py``; README.md beside this file says what is timed, and how.

The recipe: 784-20-10, sigmoid units, weights and biases from N(0, 1), half the squared error summed over the
outputs; one epoch of plain gradient descent at rate 3 on the mean gradient of a batch of 10, over the first
50,000 images in an order drawn anew, pixels divided by 256, float64; then the accuracy on the 10,000 test
images.
"""

import itertools
import random
import sys
from functools import cache, partial

import numpy as np
import side_by_side as side
from side_by_side import Contestant, Measure, Problem, SeededTrain

SIZES = (784, 20, 10)
SHAPES = tuple(itertools.pairwise(SIZES))
IMAGES, BATCH, RATE = 50_000, 10, 3.0
STEPS = IMAGES // BATCH
FLOPS = side.dense_flops(SIZES, BATCH, STEPS)
# Test accuracy of each network when the recipe is followed. It is 0.90 for most; in one network of twelve an
# output is late and its digit is missed (0.80 to 0.82), rarely two are (0.72 the lowest of 400 networks).
LEARNED = (0.65, 0.93)


# --- the recipe ---


@cache
def images() -> tuple:
    """Give the images as bytes."""
    from lib import data

    return data.split_nielsen(data.load())


def problem() -> Problem:
    """Give the recipe's training images and the test images; made anew, since they take 400 MB.

    Images float64 (N, 784), targets float64 (N, 10), labels of the test images uint8 (N,).
    """
    from lib import data

    (x, y), (x_test, y_test) = images().train, images().test
    x, x_test = (data.scale(a, 256, "float64") for a in (x, x_test))
    return Problem(x, np.eye(SIZES[-1])[y], x_test, y_test)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


# --- the contestants; each start_ function runs in a process of its own ---


def start_nielsen_loop() -> Measure:
    # The source's algorithm and data structures: columns, lists of layers, one image at a time, gradients
    # summed over the batch in new arrays. Threads of the BLAS library make no difference.
    p = problem()
    training = [(x[:, None], y[:, None]) for x, y in zip(p.x, p.y, strict=True)]
    test = [(x[:, None], y) for x, y in zip(p.x_test, p.y_test, strict=True)]
    draw = np.random.default_rng(0).standard_normal
    shuffle = random.Random(0).shuffle

    def slope(z):
        return sigmoid(z) * (1 - sigmoid(z))

    def gradient(weights, biases, x, y):
        activations, zs = [x], []
        for w, b in zip(weights, biases, strict=True):
            zs.append(np.dot(w, activations[-1]) + b)
            activations.append(sigmoid(zs[-1]))
        delta = (activations[-1] - y) * slope(zs[-1])
        by_bias, by_weight = [delta], [np.dot(delta, activations[-2].T)]
        for layer in range(len(weights) - 2, -1, -1):
            delta = np.dot(weights[layer + 1].T, delta) * slope(zs[layer])
            by_bias.insert(0, delta)
            by_weight.insert(0, np.dot(delta, activations[layer].T))
        return by_weight, by_bias

    def update(weights, biases, batch):
        sums = [np.zeros(w.shape) for w in weights], [np.zeros(b.shape) for b in biases]
        for x, y in batch:
            found = gradient(weights, biases, x, y)
            sums = [[s + g for s, g in zip(*pair, strict=True)] for pair in zip(sums, found, strict=True)]
        pairs = zip((weights, biases), sums, strict=True)
        return tuple([a - RATE / len(batch) * s for a, s in zip(*pair, strict=True)] for pair in pairs)

    def right(weights, biases, x, y):
        for w, b in zip(weights, biases, strict=True):
            x = sigmoid(np.dot(w, x) + b)
        return np.argmax(x) == y

    def one() -> list[float]:
        net = [draw((h, d)) for d, h in SHAPES], [draw((h, 1)) for _, h in SHAPES]
        shuffle(training)
        for i in range(0, IMAGES, BATCH):
            net = update(*net, training[i : i + BATCH])
        return [np.mean([right(*net, x, y) for x, y in test])]

    return side.timed(side.repeated(one))


def with_ones(x: np.ndarray) -> np.ndarray:
    """Inputs with a column of ones, for the biases."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def numpy_alone() -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them one by one, on own batches."""
    # Tried, in seconds per network: 0.24 with weights as (out, in) and biases of their own, 0.26 with weights
    # as (in, out), 0.28 with all images put in order first, 0.22 with the biases as a column of the weights
    # and results written into arrays that are there, as here. With two threads of the BLAS library 0.30 and
    # more: one here.
    x, targets, x_test, y_test = problem()
    x, x_test = with_ones(x), with_ones(x_test)
    hidden = SIZES[1]
    gradient = np.empty((hidden, x.shape[1]))
    with_one = np.ones((BATCH, hidden + 1))
    h = with_one[:, :hidden]

    def one(rng: np.random.Generator) -> list[float]:
        first, last = (rng.standard_normal((h, d + 1)) for d, h in SHAPES)
        for chosen in rng.permutation(IMAGES).reshape(STEPS, BATCH):
            batch = x.take(chosen, 0)
            h[:] = sigmoid(batch @ first.T)
            output = sigmoid(with_one @ last.T)
            d = output - targets.take(chosen, 0)
            d *= RATE / BATCH
            d *= output
            d *= 1 - output
            below = d @ last[:, :hidden]
            below *= h
            below *= 1 - h
            last -= d.T @ with_one
            np.matmul(below.T, batch, out=gradient)
            first -= gradient
        scores = with_ones(sigmoid(x_test @ first.T)) @ last.T
        return [np.mean(scores.argmax(axis=1) == y_test)]

    return side.seeded(one)


def numpy_training(chunk: int) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them in chunks, on the same batches.

    The first layers of a chunk lie side by side, so that each of their products is one.
    """
    # On one core chunks of 1, 2, 4, 8, 16, 32, 64 take 0.26, 0.18, 0.15, 0.15, 0.14, 0.14, 0.17 s per
    # network; with weights as (out, in) 0.15, 0.17, 0.15, 0.14 from 4 to 32.
    x, targets, x_test, y_test = problem()
    x, x_test = with_ones(x), with_ones(x_test)
    inputs, hidden, outputs = SIZES
    gradient = np.empty((inputs + 1, chunk * hidden))

    def stacked(h):
        return h.reshape(-1, chunk, hidden).transpose(1, 0, 2)

    def accuracy(first, w, b):
        scores = stacked(sigmoid(x_test @ first)) @ w + b
        return np.mean(scores.argmax(axis=2) == y_test, axis=1).tolist()

    def train_chunk(rng):
        first = rng.standard_normal((inputs + 1, chunk * hidden))
        w, b = rng.standard_normal((chunk, hidden, outputs)), rng.standard_normal((chunk, 1, outputs))
        for chosen in rng.permutation(IMAGES).reshape(STEPS, BATCH):
            batch = x.take(chosen, 0)
            h = stacked(sigmoid(batch @ first))
            output = sigmoid(h @ w + b)
            d = RATE / BATCH * (output - targets.take(chosen, 0)) * output * (1 - output)
            below = (d @ w.transpose(0, 2, 1)) * h * (1 - h)
            w -= h.transpose(0, 2, 1) @ d
            b -= d.sum(axis=1, keepdims=True)
            np.matmul(batch.T, below.transpose(1, 0, 2).reshape(BATCH, -1), out=gradient)
            first -= gradient
        return accuracy(first, w, b)

    return side.seeded(train_chunk)


def start_keras_fit() -> Measure:
    # Tried, in seconds per network: with arrays 4.2, with 100 and 500 steps in one execution 1.3; with a
    # dataset of shuffled images 0.73, 0.70 and 0.70 with 100, 500 and 1000 steps; of shuffled numbers in
    # batches, from which rows are gathered, 3.6, 0.9, 0.8 and 0.8 with 1, 20, 100 and 500 steps, and 1.0 with
    # gathering for 100 batches at once. XLA (jit_compile) takes 1.3, one thread 0.8. Keras on JAX takes 85.
    import keras
    import tensorflow as tf

    side.tensorflow_threads(len(side.cores()))
    keras.config.set_floatx("float64")
    tf.random.set_seed(0)
    p = problem()
    # with a plain integer seed, Keras would draw the same numbers for every layer and every network
    normal = keras.initializers.RandomNormal(stddev=1.0, seed=keras.random.SeedGenerator(0))
    model = keras.Sequential([keras.Input((SIZES[0],))])
    for _, h in SHAPES:
        model.add(keras.layers.Dense(h, "sigmoid"))
    model.compile(
        # Keras takes the mean of the squares over the outputs; the recipe half their sum
        optimizer=keras.optimizers.SGD(RATE * SIZES[-1] / 2),
        loss=keras.losses.MeanSquaredError(),
        steps_per_execution=500,
        jit_compile=False,
    )
    images = tf.data.Dataset.from_tensor_slices((p.x, p.y)).shuffle(IMAGES)
    batches = images.batch(BATCH, drop_remainder=True).prefetch(8)

    def renew():
        for layer in model.layers:
            layer.kernel.assign(normal(layer.kernel.shape))
            layer.bias.assign(normal(layer.bias.shape))

    return side.keras_fit(model, renew, p, batches)


def jax_training(chunk: int, transposed: bool = True) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them in chunks, by compiled code.

    Args:
        chunk: Networks at once, on the same batches.
        transposed: Whether weights are (out, in), not (in, out).
    """
    # Tried for one network, in seconds: with two threads 0.26, with one (NPROC=1) 0.23, as (out, in) 0.22,
    # under a vmap over one network 0.18, as here. No faster: the gradient by hand, scan, its unrolling,
    # all images put in order first, a loop over gathered batches.
    # Tried for many, in seconds per network: in chunks of 8, 16, 32, 64 0.12, 0.11, 0.09, 0.13 with weights
    # as (out, in), as here, and 0.13, 0.16, 0.09, 0.08 with first layers side by side by hand; with weights
    # as (in, out) 0.12 in chunks of 8, and 0.13 and more with the networks along a middle axis; without XLA's
    # threads for products 0.12 to 0.15.
    # On one core chunks of 1, 4, 8, 16, 32 take 0.22, 0.144, 0.136, 0.130, 0.133 s per network; first layers
    # side by side by hand 0.27, 0.149, 0.140, 0.130, 0.129; with weights as (in, out) 0.145 and more.
    import jax
    from jax import lax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    p = Problem(*(jnp.asarray(a) for a in problem()))

    def draw(key):
        keys = jax.random.split(key, (len(SHAPES), 2))
        shapes = [(h, d) if transposed else (d, h) for d, h in SHAPES]
        return [
            (jax.random.normal(k[0], shape), jax.random.normal(k[1], (h,)))
            for k, shape, (_, h) in zip(keys, shapes, SHAPES, strict=True)
        ]

    def outputs(net, x):
        for w, b in net:
            x = jax.nn.sigmoid(x @ (w.T if transposed else w) + b)
        return x

    def update(net, x, y):
        gradient = jax.grad(lambda net: jnp.sum((outputs(net, x) - y) ** 2) / 2)
        return jax.tree.map(lambda a, g: a - RATE / BATCH * g, net, gradient(net))

    @jax.jit
    def train_chunk(key, p):  # the images come in: captured, they would be compiled in, for seconds
        for_nets, for_order = jax.random.split(key)
        order = jax.random.permutation(for_order, IMAGES).reshape(STEPS, BATCH)

        def step(i, nets):
            return jax.vmap(update, in_axes=(0, None, None))(nets, p.x[order[i]], p.y[order[i]])

        nets = lax.fori_loop(0, STEPS, step, jax.vmap(draw)(jax.random.split(for_nets, chunk)))
        return lax.map(lambda net: jnp.mean(jnp.argmax(outputs(net, p.x_test), axis=1) == p.y_test), nets)

    def train(seed: int, networks: int) -> list[float]:
        keys = jax.random.split(jax.random.key(seed), -(-networks // chunk))
        return [a for k in keys for a in np.asarray(train_chunk(k, p)).tolist()]

    return train


def ours(
    networks: int, precision: str = "float64", chunk: int | None = None, workers: int | None = None
) -> list[float]:
    """Test accuracies of networks trained by the chapter's own job."""
    from lib.questions import phases

    phase = phases.Phase(epochs=1, looks=(1,), precision=precision).config()
    found = side.engine(phases.job, phase, networks, chunk or phases.CHUNK, workers)
    return (found["accuracy"][:, -1] / 100).tolist()


def engine(networks: int, warm_up: int = 0, **options) -> Contestant:
    """A contestant with the engine, which loads the images itself."""
    modules = ("lib.questions.phases", "lib.ensembles.ensemble")
    return Contestant(partial(side.timed, partial(ours, **options)), modules, networks, warm_up, loads=False)


ONE: dict[str, int | None] = {"OPENBLAS_NUM_THREADS": 1}

CONTESTANTS = {
    "nielsen-loop": Contestant(start_nielsen_loop, (), 1, threads=ONE),
    "numpy-vectorised": Contestant(side.alone(numpy_alone), (), 3, threads=ONE),
    "numpy-processes": Contestant(side.in_processes(numpy_training, 16), (), 32, threads=ONE, loads=False),
    "numpy-own": Contestant(side.in_processes(numpy_alone), (), 8, 2, threads=ONE, loads=False),
    "keras-fit": Contestant(start_keras_fit, ("tensorflow", "keras"), 2),
    "jax-single": Contestant(side.alone(jax_training, 1, False), ("jax",), 3, threads={"NPROC": 1}),
    "jax-vmap": Contestant(side.alone(jax_training, 32), ("jax",), 32),
    "jax-processes": Contestant(side.in_processes(jax_training, 16), ("jax",), 32, loads=False),
    "jax-own": Contestant(side.in_processes(jax_training, 1, False), ("jax",), 8, 2, loads=False),
    "ours-single": engine(3, 1, chunk=1, workers=1),
    "ours": engine(80),
    "ours-float32": engine(80, precision="float32"),
    "floor": side.floor(FLOPS, np.float64),
}


if __name__ == "__main__":
    sys.exit(side.main(side.Benchmark(__file__, __doc__, images, CONTESTANTS, LEARNED, FLOPS)))
