"""Time this project's engine beside other ways to take many small steps with small networks.

Run ``python benchmarks/long_run_sgd_drift.py``; README.md beside this file says what is timed, and how. A
second table gives updates per second.

The recipe: 784-16-10, rectifiers, softmax, mean cross-entropy, 50,000 steps of plain gradient descent at rate
0.03 on batches of 10, from 50,000 images reshuffled every epoch, weights from a normal of variance 2 / inputs
cut at 2 sd, biases 0, float32; then the accuracy on the 10,000 validation images.
"""

import functools
import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from side_by_side import (
    OMP,
    Benchmark,
    Contestant,
    Measure,
    SeededTrain,
    cores,
    engine,
    floor,
    in_processes,
    main,
    timed,
)

SIZES = (784, 16, 10)
SHAPES = tuple(itertools.pairwise(SIZES))
BATCH, STEPS, RATE, IMAGES = 10, 50_000, 0.03, 50_000
TOGETHER = 6  # networks that share their batches: the arms of a seed in the chapter
LEARNED = (0.90, 0.96)  # validation accuracy of each network; 0.945 when the recipe is followed


# --- the recipe ---


class Problem(NamedTuple):
    """Images float32 (N, 784), 0 to 1, and labels int32 (N,)."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@functools.cache
def problem() -> Problem:
    """Give the training and the validation images."""
    from lib import data

    split = data.split_nielsen(data.load())
    (x, y), (x_test, y_test) = split.train, split.validation
    return Problem(data.scale(x, 255), y.astype(np.int32), data.scale(x_test, 255), y_test.astype(np.int32))


def order(rng: np.random.Generator) -> np.ndarray:
    """Image numbers of all batches, int32 (STEPS, BATCH)."""
    epochs = -(-STEPS * BATCH // IMAGES)
    images = np.concatenate([rng.permutation(IMAGES) for _ in range(epochs)]).astype(np.int32)
    return images[: STEPS * BATCH].reshape(STEPS, BATCH)


def draw(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (in, out) and biases of a fresh network."""
    from scipy.stats import truncnorm

    weights = [truncnorm.rvs(-2, 2, scale=math.sqrt(2 / s[0]), size=s, random_state=rng) for s in SHAPES]
    return [(w.astype(np.float32), np.zeros(w.shape[1], np.float32)) for w in weights]


def training_flops() -> int:
    """Floating-point operations in the matrix products of one network's training.

    2 B D H for each layer's forward product and for its weight gradient, and for its input gradient in all
    layers but the first. All else (biases, rectifiers, softmax, the update, the images) is left out.
    """
    return STEPS * sum(2 * BATCH * d * h * (2 if layer == 0 else 3) for layer, (d, h) in enumerate(SHAPES))


# --- the contestants; each start_ function runs in a process of its own ---


def ours(networks: int, together: int, workers: int | None) -> Sequence[float]:
    """Validation accuracies of networks trained by the chapter's own job, snapshots on disk included."""
    from lib.questions import drift

    config = drift.Setting(
        updates=STEPS,
        hidden=SIZES[1:-1],
        rates=(RATE,) * together,
        decays=(0.0,) * together,
        batch=BATCH,
        images=IMAGES,
    ).config()
    results = engine(drift.job, config, -(-networks // together), drift.CHUNK, workers)
    return (1 - results["validation_error"].ravel() / 100).tolist()


def start_ours() -> Measure:
    return timed(functools.partial(ours, together=TOGETHER, workers=None))


def start_ours_single() -> Measure:
    return timed(functools.partial(ours, together=1, workers=1))


def start_keras(steps_per_execution: int) -> Measure:
    # As a user writes it, and with the option that makes it fastest. Tried for that: 20, 100 and 500 steps
    # in one execution; arrays against a dataset.
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(len(cores()))
    tf.config.threading.set_inter_op_parallelism_threads(len(cores()))
    p, rng = problem(), np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((SIZES[0],)), keras.layers.Dense(SIZES[1], "relu"), keras.layers.Dense(SIZES[2])]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )

    def train(networks: int) -> list[float]:
        accuracies = []
        for _ in range(networks):
            for layer, (w, b) in zip(model.layers, draw(rng), strict=True):
                layer.set_weights([w, b])
            model.fit(p.x, p.y, batch_size=BATCH, epochs=STEPS * BATCH // IMAGES, verbose=0)
            scores = model.predict(p.x_test, batch_size=len(p.x_test), verbose=0)
            accuracies.append(np.mean(scores.argmax(axis=1) == p.y_test))
        return accuracies

    return timed(train)


def start_numpy() -> Measure:
    # Tried: one BLAS thread against two (the same), np.take against indexing (a tenth faster).
    p, rng = problem(), np.random.default_rng(0)
    targets = np.eye(SIZES[-1], dtype=np.float32)[p.y]

    def train(networks: int) -> list[float]:
        accuracies = []
        for _ in range(networks):
            (w0, b0), (w1, b1) = draw(rng)
            for batch in order(rng):
                x = p.x.take(batch, axis=0)
                h = x @ w0
                h += b0
                np.maximum(h, 0, out=h)
                z = h @ w1
                z += b1
                z -= z.max(axis=1, keepdims=True)
                np.exp(z, out=z)
                z /= z.sum(axis=1, keepdims=True)
                z -= targets.take(batch, axis=0)
                z *= RATE / BATCH
                d = z @ w1.T
                d *= h > 0
                w1 -= h.T @ z
                b1 -= z.sum(axis=0)
                w0 -= x.T @ d
                b0 -= d.sum(axis=0)
            scores = np.maximum(p.x_test @ w0 + b0, 0) @ w1 + b1
            accuracies.append(np.mean(scores.argmax(axis=1) == p.y_test))
        return accuracies

    return timed(train)


def jax_training(together: int) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them in chunks, by compiled code."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    p = Problem(*(jnp.asarray(a) for a in problem()))
    hot = jax.nn.one_hot(p.y, SIZES[-1])

    def logits(weights, x):
        (w0, b0), (w1, b1) = weights
        return jax.nn.relu(x @ w0 + b0) @ w1 + b1

    def update(weights, x, y):
        def loss(weights):
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(logits(weights, x)), axis=1))

        return jax.tree.map(lambda w, g: w - RATE * g, weights, jax.grad(loss)(weights))

    every = jax.vmap(update, in_axes=(0, None, None)) if together > 1 else update

    def step(weights, batch, x, hot):
        return every(weights, x[batch], hot[batch]), None

    @functools.partial(jax.jit, donate_argnums=0)
    def walk(weights, batches, x, hot):
        return lax.scan(lambda w, b: step(w, b, x, hot), weights, batches)[0]

    @jax.jit
    def accuracy(weights, x, y):
        return jnp.mean(jnp.argmax(logits(weights, x), axis=1) == y)

    def train(seed: int, networks: int) -> list[float]:
        rng, accuracies = np.random.default_rng(seed), []
        while len(accuracies) < networks:
            weights = [draw(rng) for _ in range(together)]
            weights = jax.tree.map(lambda *w: jnp.stack(w), *weights)
            if together == 1:
                weights = jax.tree.map(lambda w: w[0], weights)
            weights = walk(weights, jnp.asarray(order(rng)), p.x, hot)
            for k in range(together):
                one = jax.tree.map(lambda w, k=k: w[k], weights) if together > 1 else weights
                accuracies.append(float(accuracy(one, p.x_test, p.y_test)))
        return accuracies

    return train


def start_jax(together: int) -> Measure:
    return timed(functools.partial(jax_training(together), 0))


def start_jax_processes() -> Measure:
    return in_processes(functools.partial(jax_training, TOGETHER))


ONE = {name: 1 for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
ENGINE = ("lib.questions.drift", "lib.ensembles.ensemble")
CONTESTANTS = {
    "keras-fit": Contestant(functools.partial(start_keras, 1), ("tensorflow", "keras"), 1),
    "keras-fit-100": Contestant(functools.partial(start_keras, 100), ("tensorflow", "keras"), 1),
    "numpy-loop": Contestant(start_numpy, ("scipy.stats",), 2, 1, ONE),
    "jax-single": Contestant(functools.partial(start_jax, 1), ("jax", "scipy.stats"), 4),
    "jax-vmap": Contestant(functools.partial(start_jax, TOGETHER), ("jax", "scipy.stats"), 12),
    "jax-processes": Contestant(start_jax_processes, ("jax", "scipy.stats"), 24, 12),
    "ours-single": Contestant(start_ours_single, ENGINE, 4, 1, OMP),
    "ours": Contestant(start_ours, ENGINE, 48, 0, OMP),
    "floor": floor(training_flops(), np.float32),
}

AT_ONCE = {"jax-vmap": TOGETHER}
AT_ONCE |= dict.fromkeys(("jax-processes", "ours"), TOGETHER * len(cores()))


def per_update(records: Mapping[str, dict]) -> str:
    """Set updates per second of one network and of all that train at once as a table, by medians."""
    width = max(map(len, records))
    lines = [f"{'contestant':{width}}  networks at once  updates/s of each  of all"]
    for name, record in records.items():
        if record["status"] == "measured":
            once = AT_ONCE.get(name, 1)
            every = STEPS / record["seconds_per_network"]["median"]
            lines.append(f"{name:{width}}  {once:<16}  {every / once:<17,.0f}  {every:,.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    benchmark = Benchmark(__file__, __doc__, problem, CONTESTANTS, LEARNED, training_flops(), per_update)
    sys.exit(main(benchmark))
