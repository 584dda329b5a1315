"""Time this project's engine beside other ways to take many small steps with small networks.

Run ``python benchmarks/long_run_sgd_drift.py``; README.md beside this file says what is timed, and how. A
second table gives updates per second.

The recipe: 784-16-10, rectifiers, softmax, mean cross-entropy, 50,000 steps of plain gradient descent at rate
0.03 on batches of 10, from 50,000 images reshuffled every epoch, weights from a normal of variance 2 / inputs
cut at 2 sd, biases 0, float32; then the accuracy on the 10,000 validation images.
"""

import itertools
import math
import sys
from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import side_by_side as side
from side_by_side import Contestant, Measure, Problem, SeededTrain

SIZES = (784, 16, 10)
SHAPES = tuple(itertools.pairwise(SIZES))
BATCH, STEPS, RATE, IMAGES = 10, 50_000, 0.03, 50_000
TOGETHER = 6  # networks that share their batches: the arms of a seed in the chapter
FLOPS = side.dense_flops(SIZES, BATCH, STEPS)
LEARNED = (0.90, 0.96)  # validation accuracy of each network; 0.945 when the recipe is followed


# --- the recipe ---


@cache
def problem() -> Problem:
    """Give the training and the validation images, float32 (N, 784), 0 to 1; labels int32 (N,)."""
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


# --- the contestants; each start_ function runs in a process of its own ---


def ours(networks: int, together: int = TOGETHER, workers: int | None = None) -> Sequence[float]:
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
    results = side.engine(drift.job, config, -(-networks // together), drift.CHUNK, workers)
    return (1 - results["validation_error"].ravel() / 100).tolist()


def start_keras(steps_per_execution: int) -> Measure:
    # As a user writes it, and with the option that makes it fastest. Tried for that: 20, 100 and 500 steps
    # in one execution; arrays against a dataset.
    import keras

    side.tensorflow_threads(len(side.cores()))
    p, rng = problem(), np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((SIZES[0],)), keras.layers.Dense(SIZES[1], "relu"), keras.layers.Dense(SIZES[2])]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )

    def renew():
        for layer, (w, b) in zip(model.layers, draw(rng), strict=True):
            layer.set_weights([w, b])

    return side.keras_fit(model, renew, p, p.x, p.y, batch_size=BATCH, epochs=STEPS * BATCH // IMAGES)


def start_numpy() -> Measure:
    # Tried: one BLAS thread against two (the same), np.take against indexing (a tenth faster).
    p, rng = problem(), np.random.default_rng(0)
    targets = np.eye(SIZES[-1], dtype=np.float32)[p.y]

    def one() -> list[float]:
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
        return [np.mean(scores.argmax(axis=1) == p.y_test)]

    return side.timed(side.repeated(one))


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

    @partial(jax.jit, donate_argnums=0)
    def walk(weights, batches, x, hot):
        return lax.scan(lambda w, b: step(w, b, x, hot), weights, batches)[0]

    @jax.jit
    def accuracy(weights, x, y):
        return jnp.mean(jnp.argmax(logits(weights, x), axis=1) == y)

    def train_chunk(rng: np.random.Generator) -> list[float]:
        weights = [draw(rng) for _ in range(together)]
        weights = jax.tree.map(lambda *w: jnp.stack(w), *weights)
        if together == 1:
            weights = jax.tree.map(lambda w: w[0], weights)
        weights = walk(weights, jnp.asarray(order(rng)), p.x, hot)
        nets = [weights]
        if together > 1:
            nets = [jax.tree.map(lambda w, k=k: w[k], weights) for k in range(together)]
        return [float(accuracy(net, p.x_test, p.y_test)) for net in nets]

    return side.seeded(train_chunk)


ONE = {name: 1 for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
JAX = ("jax", "scipy.stats")
ENGINE = ("lib.questions.drift", "lib.ensembles.ensemble")
CONTESTANTS = {
    "keras-fit": Contestant(partial(start_keras, 1), ("tensorflow", "keras"), 1),
    "keras-fit-100": Contestant(partial(start_keras, 100), ("tensorflow", "keras"), 1),
    "numpy-loop": Contestant(start_numpy, ("scipy.stats",), 2, 1, ONE),
    "jax-single": Contestant(side.alone(jax_training, 1), JAX, 4),
    "jax-vmap": Contestant(side.alone(jax_training, TOGETHER), JAX, 12),
    "jax-processes": Contestant(side.in_processes(jax_training, TOGETHER), JAX, 24, 12, loads=False),
    "ours-single": Contestant(
        partial(side.timed, partial(ours, together=1, workers=1)), ENGINE, 4, 1, side.OMP
    ),
    "ours": Contestant(partial(side.timed, ours), ENGINE, 48, 0, side.OMP),
    "floor": side.floor(FLOPS, np.float32),
}

AT_ONCE = {"jax-vmap": TOGETHER}
AT_ONCE |= dict.fromkeys(("jax-processes", "ours"), TOGETHER * len(side.cores()))


def per_update(name: str, seconds: float) -> dict[str, str]:
    """Updates per second of one network, and of all that train at once."""
    once, every = AT_ONCE.get(name, 1), STEPS / seconds
    return {
        "networks at once": f"{once}",
        "updates/s of each": f"{every / once:,.0f}",
        "of all": f"{every:,.0f}",
    }


if __name__ == "__main__":
    sys.exit(side.main(side.Benchmark(__file__, __doc__, problem, CONTESTANTS, LEARNED, FLOPS, per_update)))
