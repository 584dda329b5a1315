"""Time this project's engine beside other ways to train the small convolutional networks of the plateau.

Run ``python benchmarks/plateau_after_lr_jump.py``; README.md beside this file says what is timed, and how. A
second table gives networks trained in a minute and milliseconds for a step of one network.

The recipe: two blocks of a 3x3 convolution without padding (8 and 16 channels), 2x2 max pooling and ReLU;
64 ReLU units and 10 outputs; softmax and the mean cross-entropy of a batch of 32; 10 epochs of plain gradient
descent at rate 0.1 over 1000 images in an order drawn anew, 31 whole batches each, pixels from 0 to 1;
weights uniform as Glorot and Bengio draw them, biases 0, float32; then the accuracy on the 500 images from
number 50,000 of the training file. ``BATCH=2`` in the environment makes it batches of 2 and a rate of 0.01.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np
import side_by_side as side
from side_by_side import Contestant, Measure, Problem, SeededTrain

CHANNELS, DENSE, CLASSES = (8, 16), 64, 10
KERNELS = ((3, 3, 1, 8), (3, 3, 8, 16), (400, 64), (64, 10))  # of each layer, inputs before outputs
BLOCKS = 2
SIDE = 26  # of 28: no unit that is left after the pooling sees the last two rows and columns
IMAGES, EPOCHS = 1000, 10
BATCH = int(os.environ.get("BATCH", "32"))
RATE = 0.1 if BATCH > 8 else 0.01  # with small batches fewer networks die at the lower one
STEPS = EPOCHS * (IMAGES // BATCH)
JUDGED = (50_000, 500)  # of the training file: the first, how many
CHUNK = 8  # networks at once in the engine
# Accuracy of each network when the recipe is followed: 0.90 +- 0.01, from 0.86 to 0.93 in 200 networks.
LEARNED = (0.80, 0.96)


# --- the recipe ---


@cache
def images() -> list[tuple[np.ndarray, np.ndarray]]:
    """Give the training images and the ones judged on, float32 (N, 784), with their labels."""
    from lib import data

    m = data.load()
    pairs = [data.subset(m, *which) for which in ((0, IMAGES), JUDGED)]
    return [(data.scale(x, 255), y.astype(np.int32)) for x, y in pairs]


def problem() -> Problem:
    """Give the images as far as the network sees them, which saves time wherever it makes a difference.

    Images float32 (N, 26, 26), 0 to 1, and labels int32 (N,).
    """
    return Problem(
        *(
            np.ascontiguousarray(a.reshape(-1, 28, 28)[:, :SIDE, :SIDE]) if a.ndim == 2 else a
            for pair in images()
            for a in pair
        )
    )


def limits() -> list[float]:
    """Largest weight of each layer, after Glorot and Bengio: a convolution has nine units to a channel."""
    sums = [np.prod(k[:-1]) + np.prod(k[:-2]) * k[-1] if len(k) == 4 else sum(k) for k in KERNELS]
    return [float(np.sqrt(6 / s)) for s in sums]


def draw(rng: np.random.Generator, *members: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each layer of a fresh network, or of as many as members says."""
    drawn = [
        (rng.uniform(-size, size, (*members, *kernel)), np.zeros((*members, kernel[-1])))
        for kernel, size in zip(KERNELS, limits(), strict=True)
    ]
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in drawn]


def batches(rng: np.random.Generator) -> np.ndarray:
    """Image numbers of the batches of all epochs, int32 (STEPS, BATCH)."""
    whole = IMAGES // BATCH * BATCH
    order = np.concatenate([rng.permutation(IMAGES)[:whole] for _ in range(EPOCHS)])
    return order.reshape(STEPS, BATCH).astype(np.int32)


def check_drawn(layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Check that fresh networks are drawn by the recipe, whatever the layout of their kernels.

    Raises:
        RuntimeError: They are not.
    """
    for number, (kernel, size, (w, b)) in enumerate(zip(KERNELS, limits(), layers, strict=True)):
        wanted = size / np.sqrt(3)  # standard deviation; within six of what chance makes of it
        fine = (
            w.size % np.prod(kernel) == 0
            and np.abs(w).max() <= size * 1.000001
            and np.abs(w.mean()) <= 6 * wanted / np.sqrt(w.size)
            and np.abs(w.std() / wanted - 1) <= 6 * np.sqrt(0.2 / w.size)
            and np.unique(w).size > 0.9 * w.size  # no two networks alike
            and b.size * np.prod(kernel[:-1]) == w.size
            and not b.any()
        )
        if not fine:
            raise RuntimeError(f"layer {number} is not drawn by the recipe")


def training_flops() -> int:
    """Floating-point operations in the multiplications of one network's training.

    Two for each weight, image and position that is left after the pooling, forward and for the weight
    gradient, and for the input gradient in all layers but the first. All else (biases, pooling, ReLU,
    softmax, the update, the images judged on) is left out.
    """
    positions = (24**2, 10**2, 1, 1)
    products = [2 * BATCH * int(np.prod(k)) * n for k, n in zip(KERNELS, positions, strict=True)]
    return STEPS * (3 * sum(products) - products[0])


# --- the contestants; each start_ function runs in a process of its own ---


@cache
def _cut():
    from lib import convnets

    design = convnets.Design(CHANNELS, (DENSE,))
    return design, *(convnets.images(x, y, design) for x, y in images())


def job(config: Mapping, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """What a worker of the engine does: train networks by the recipe, and judge them."""
    from lib import convnets

    design, training, judged = _cut()
    layers = convnets.initial(seeds, design, "glorot")
    order = batches(np.random.default_rng(seeds[0]))
    layers, *_ = convnets.fit(layers, training, order, np.full(STEPS, config["rate"]), design=design)
    return {"accuracy": convnets.look(layers, judged, design).accuracy}


def start_ours(chunk: int = CHUNK, workers: int | None = None) -> Measure:
    # its workers import the job from here by this name; run as a script, this module has another one
    import plateau_after_lr_jump

    from lib import convnets

    drawn = convnets.initial(range(chunk), convnets.Design(CHANNELS, (DENSE,)), "glorot")
    check_drawn([(w.numpy()[:, :-1], w.numpy()[:, -1]) for w in drawn])

    def train(networks: int) -> list[float]:
        found = side.engine(plateau_after_lr_jump.job, {"rate": RATE}, networks, chunk, workers)
        return (found["accuracy"] / 100).tolist()

    return side.timed(train)


def start_keras_fit() -> Measure:
    import keras
    import tensorflow as tf

    side.tensorflow_threads(len(side.cores()))
    tf.random.set_seed(0)
    p, rng = problem(), np.random.default_rng(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1))])
    for channels in CHANNELS:
        for layer in (layers.Conv2D(channels, 3), layers.MaxPooling2D(), layers.ReLU()):
            model.add(layer)
    for layer in (layers.Flatten(), layers.Dense(DENSE, "relu"), layers.Dense(CLASSES)):
        model.add(layer)
    model.compile(
        optimizer=keras.optimizers.SGD(RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=STEPS,
        jit_compile=False,
    )
    p = p._replace(x=p.x[..., None], x_test=p.x_test[..., None])
    shuffled = tf.data.Dataset.from_tensor_slices((p.x, p.y)).shuffle(IMAGES, reshuffle_each_iteration=True)
    steps = shuffled.batch(BATCH, drop_remainder=True).repeat(EPOCHS).prefetch(8)

    def renew():
        model.set_weights([a for layer in draw(rng) for a in layer])

    return side.keras_fit(model, renew, p, steps)


def loop_training(xla: bool) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them one by one in a graph's loop.

    It has one thread for each operation.

    Args:
        xla: Whether XLA compiles it.
    """
    import tensorflow as tf

    side.tensorflow_threads(1)
    x, y, x_test, y_test = (tf.constant(a) for a in problem())

    def plain(net, x):
        h = x[..., None]
        for w, b in net[:BLOCKS]:
            h = tf.nn.relu(tf.nn.max_pool2d(tf.nn.conv2d(h, w, 1, "VALID"), 2, 2, "VALID") + b)
        (w, b), (v, c) = net[BLOCKS:]
        return tf.nn.relu(tf.reshape(h, (x.shape[0], -1)) @ w + b) @ v + c

    def images_last(net, x):
        h = tf.transpose(x, (1, 2, 0))[None]
        for w, b in net[:BLOCKS]:
            side, (outputs, inputs) = h.shape[1] - 2, w.shape
            patches = tf.concat([h[:, i : i + side, j : j + side] for i in range(3) for j in range(3)], 0)
            z = w @ tf.reshape(patches, (inputs, -1))
            z = tf.reshape(z, (outputs, side // 2, 2, side // 2, 2, x.shape[0]))
            for axis in (2, 3):
                z = tf.maximum(*tf.unstack(z, axis=axis))
            h = tf.nn.relu(z + b[:, None, None, None])
        (w, b), (v, c) = net[BLOCKS:]
        h = tf.nn.relu(w @ tf.reshape(h, (w.shape[1], -1)) + b[:, None])
        return tf.transpose(v @ h + c[:, None])

    outputs = images_last if xla else plain

    @tf.function(jit_compile=xla)
    def train_one(net, order):
        def step(i, net):
            with tf.GradientTape() as tape:
                tape.watch(net)
                z = outputs(net, tf.ensure_shape(tf.gather(x, order[i]), (BATCH, SIDE, SIDE)))
                labels = tf.ensure_shape(tf.gather(y, order[i]), (BATCH,))
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z))
            gradient = tape.gradient(loss, net)
            return i + 1, tf.nest.map_structure(lambda a, g: a - RATE * g, net, gradient)

        _, net = tf.while_loop(lambda i, _: i < STEPS, step, (tf.constant(0), net), parallel_iterations=1)
        right = tf.argmax(outputs(net, x_test), axis=1, output_type=tf.int32) == y_test
        return tf.reduce_mean(tf.cast(right, tf.float32))

    def one(rng: np.random.Generator) -> list[float]:
        net = outputs_first(draw(rng)) if xla else draw(rng)
        net = tf.nest.map_structure(tf.constant, net)
        return [float(train_one(net, tf.constant(batches(rng))))]

    return side.seeded(one)


def outputs_first(net: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give each kernel as a matrix (outputs, inputs), behind the members' axis where there is one."""
    members = net[0][1].shape[:-1]
    matrices = [w.reshape(*members, -1, w.shape[-1]).swapaxes(-1, -2) for w, _ in net]
    return [(np.ascontiguousarray(w), b) for w, (_, b) in zip(matrices, net, strict=True)]


def jax_training(chunk: int | None) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them by compiled code.

    Args:
        chunk: Networks at once, on the same batches; None for one at a time, without vmap.
    """
    import jax
    from jax import lax
    from jax import numpy as jnp

    p = Problem(*(jnp.asarray(a) for a in problem()))
    members = () if chunk is None else (chunk,)

    def outputs(net, x):
        h = x.transpose(1, 2, 0)[None]
        for w, b in net[:BLOCKS]:
            side = h.shape[1] - 2
            patches = [h[:, i : i + side, j : j + side] for i in range(3) for j in range(3)]
            z = w @ jnp.concatenate(patches).reshape(w.shape[1], -1)
            z = z.reshape(-1, side // 2, 2, side // 2, 2, len(x)).max((2, 4))
            h = jax.nn.relu(z + b[:, None, None, None])
        (w, b), (v, c) = net[BLOCKS:]
        return (v @ jax.nn.relu(w @ h.reshape(w.shape[1], -1) + b[:, None]) + c[:, None]).T

    def loss(net, x, y):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs(net, x)), y[:, None], 1))

    def update(net, x, y):
        return jax.tree.map(lambda a, g: a - RATE * g, net, jax.grad(loss)(net, x, y))

    def accuracy(net, p):
        return jnp.mean(jnp.argmax(outputs(net, p.x_test), axis=1) == p.y_test)

    if chunk is not None:
        update = jax.vmap(update, in_axes=(0, None, None))

    @jax.jit
    def train_chunk(nets, order, p):
        nets, _ = lax.scan(lambda nets, i: (update(nets, p.x[i], p.y[i]), None), nets, order)
        return accuracy(nets, p) if chunk is None else lax.map(lambda net: accuracy(net, p), nets)

    return side.seeded(
        lambda rng: np.atleast_1d(train_chunk(outputs_first(draw(rng, *members)), batches(rng), p))
    )


def torch_model():
    """The network of the recipe."""
    from torch import nn

    blocks = []
    for below, channels in zip((1, *CHANNELS), CHANNELS, strict=False):
        blocks += [nn.Conv2d(below, channels, 3), nn.MaxPool2d(2), nn.ReLU()]
    (flat, dense), (_, classes) = KERNELS[BLOCKS:]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(flat, dense), nn.ReLU(), nn.Linear(dense, classes))


def torch_training(threads: int = 1) -> SeededTrain:
    """Give a function of a seed and a number of networks that trains them one by one, in the usual loop."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    last = torch.channels_last
    p = problem()
    x, x_test = (torch.from_numpy(a)[:, None].contiguous(memory_format=last) for a in (p.x, p.x_test))
    y, y_test = (torch.from_numpy(a).long() for a in (p.y, p.y_test))
    model = torch_model().to(memory_format=last)
    parameters = list(model.parameters())
    optimiser = torch.optim.SGD(parameters, RATE, fused=True)

    def one(rng: np.random.Generator) -> list[float]:
        with torch.no_grad():
            for parameter, a in zip(parameters, (a for layer in draw(rng) for a in layer), strict=True):
                parameter.copy_(torch.from_numpy(a.T))
        for i in torch.from_numpy(batches(rng)):
            loss = functional.cross_entropy(model(x[i]), y[i])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            return [(model(x_test).argmax(1) == y_test).float().mean().item()]

    return side.seeded(one)


def start_torch_vmap(compiled: bool) -> Measure:
    import torch
    from torch.func import functional_call, grad, vmap
    from torch.nn import functional

    if compiled:
        side.want_compiler()
    chunk = 8
    torch.set_num_threads(len(side.cores()))
    p, rng = problem(), np.random.default_rng(0)
    x, x_test = torch.from_numpy(p.x), torch.from_numpy(p.x_test)
    y, y_test = torch.from_numpy(p.y).long(), torch.from_numpy(p.y_test).long()
    model = torch_model()
    names = [name for name, _ in model.named_parameters()]

    def by_modules(net, x):
        return functional_call(model, dict(zip(names, net, strict=True)), (x[:, None],))

    def images_last(net, x):
        layers = list(zip(net[::2], net[1::2], strict=True))
        h = x.permute(1, 2, 0)[None]
        for w, b in layers[:BLOCKS]:
            side = h.shape[1] - 2
            patches = [h[:, i : i + side, j : j + side] for i in range(3) for j in range(3)]
            z = w @ torch.cat(patches).reshape(w.shape[1], -1)
            z = z.reshape(-1, side // 2, 2, side // 2, 2, len(x))
            for axis in (2, 3):
                z = torch.maximum(*z.unbind(axis))
            h = torch.relu(z + b[:, None, None, None])
        (w, b), (v, c) = layers[BLOCKS:]
        return (v @ torch.relu(w @ h.reshape(w.shape[1], -1) + b[:, None]) + c[:, None]).T

    outputs = images_last if compiled else by_modules
    gradient = vmap(
        grad(lambda net, x, y: functional.cross_entropy(outputs(net, x), y)), in_dims=(0, None, None)
    )

    def update(net, x, y):
        return tuple([a - RATE * g for a, g in zip(net, gradient(net, x, y), strict=True)])

    def update_in_place(net, x, y):
        torch._foreach_add_(net, gradient(net, x, y), alpha=-RATE)
        return net

    step = torch.compile(update) if compiled else update_in_place
    accuracy = vmap(lambda net: (outputs(net, x_test).argmax(1) == y_test).float().mean())

    @torch.no_grad()
    def train_chunk() -> list[float]:
        drawn = draw(rng, chunk)
        if compiled:
            drawn = outputs_first(drawn)
        else:  # axes behind the members' turned round
            drawn = [(w.transpose(0, *range(w.ndim - 1, 0, -1)), b) for w, b in drawn]
        net = tuple(torch.from_numpy(np.ascontiguousarray(a)) for layer in drawn for a in layer)
        for i in torch.from_numpy(batches(rng)):
            net = step(net, x[i], y[i])
        return accuracy(net).tolist()

    return side.timed(side.repeated(train_chunk))


ENGINE = ("lib.convnets", "lib.ensembles.ensemble")

CONTESTANTS = {
    "keras-fit": Contestant(start_keras_fit, ("tensorflow", "keras"), 4),
    "plain-loop": Contestant(side.alone(loop_training, False), ("tensorflow",), 4),
    "plain-processes": Contestant(side.in_processes(loop_training, False), ("tensorflow",), 8, loads=False),
    "xla-loop": Contestant(side.alone(loop_training, True), ("tensorflow",), 8),
    "xla-processes": Contestant(side.in_processes(loop_training, True), ("tensorflow",), 16, loads=False),
    "torch-single": Contestant(
        side.alone(torch_training, len(side.cores())), ("torch",), 4, threads=side.OMP
    ),
    "torch-processes": Contestant(side.in_processes(torch_training), ("torch",), 8, loads=False),
    "torch-vmap": Contestant(partial(start_torch_vmap, False), ("torch",), 8, threads=side.OMP),
    "torch-compiled": Contestant(partial(start_torch_vmap, True), ("torch",), 8, threads=side.OMP),
    "jax-single": Contestant(side.alone(jax_training, None), ("jax",), 8),
    "jax-vmap": Contestant(side.alone(jax_training, 8), ("jax",), 16),
    "jax-processes": Contestant(side.in_processes(jax_training, None), ("jax",), 16, loads=False),
    "ours-single": Contestant(partial(start_ours, 1, 1), ENGINE, 4),
    "ours": Contestant(start_ours, ENGINE, 32, 0),
    "floor": side.floor(training_flops(), np.float32),
}


# --- the second table ---


def per_step(name: str, seconds: float) -> dict[str, str]:
    """Networks trained in a minute, and milliseconds for a step of one network."""
    return {"networks per minute": f"{60 / seconds:.0f}", "ms per step": f"{1000 * seconds / STEPS:.3f}"}


if __name__ == "__main__":
    benchmark = side.Benchmark(__file__, __doc__, images, CONTESTANTS, LEARNED, training_flops(), per_step)
    sys.exit(side.main(benchmark))
