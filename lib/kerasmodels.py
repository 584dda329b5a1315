"""Keras models as sequential networks of this library, drawn anew by seed, or trained as they are one by one.

A model travels as its JSON text, which holds architecture and compiled optimiser but no weights and no code.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib import diagnose, sequential, streams
from lib.backend import tf
from lib.sequential import Net, Rule
from lib.symptoms import PIECE, Symptoms


class ModelError(ValueError):
    """A model that cannot be used, in one line; notebooks show no stack."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class UnknownError(ModelError):
    """A model with something in it that `lib.sequential` does not know; Keras itself can train it."""


class Known(NamedTuple):
    """A model as this library knows it: its network, how it is trained, and its learning rate."""

    net: Net
    rule: Rule
    rate: float


def load(path: str | Path) -> Any:
    """A saved model, read in Keras's safe mode: nothing in the file is executed.

    Args:
        path: A ``.keras`` file.

    Raises:
        ModelError: No such file, no Keras model, or one that wants code to be run.
    """
    path = Path(path).expanduser()
    if path.suffix != ".keras" or not path.is_file():
        raise ModelError(f"{path}: no .keras file, as model.save('name.keras') writes it")
    try:
        return tf.keras.models.load_model(path, safe_mode=True)
    except Exception as e:  # what Keras raises for files of all kinds is no closed list
        said = " ".join(str(e).split())
        code = "arbitrary code" in said or "custom" in said or "register" in said or "Lambda" in said
        why = "wants code to be run that the file brings or needs" if code else "no Keras model"
        raise ModelError(f"{path}: {why}: {said[:200]}") from None


def text(model: Any) -> str:
    """A model's JSON text; it must be compiled.

    Raises:
        ModelError: The model was not compiled, or has no such text.
    """
    try:
        found = json.loads(model.to_json())
    except Exception as e:
        raise ModelError(f"the model has no architecture to take: {' '.join(str(e).split())[:200]}") from None
    if not found.get("compile_config"):
        raise ModelError("the model must be compiled, so that its optimiser and loss are known; it is not")
    return json.dumps(found, sort_keys=True)


def _seeded(value: Any, seeds: Iterator[int]) -> Any:
    """Plain data in which everything that draws has a seed of its own."""
    if isinstance(value, list):
        return [_seeded(v, seeds) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: next(seeds) if k == "seed" else _seeded(v, seeds) for k, v in value.items()}


def drawn(model: str, seed: int) -> Any:
    """The model with fresh weights, which depend on the seed alone.

    Args:
        model: JSON text, as from `text`.
        seed: From 0 to 2**31 - 1.
    """
    draws = streams.generator("drawn model", seed).integers(2**31, size=1000).tolist()
    data = _seeded(json.loads(model), iter(draws))
    data.pop("compile_config")
    return tf.keras.models.model_from_json(json.dumps(data))  # in safe mode, which is its default


def weights(models: list[Any]) -> tuple[tf.Tensor, ...]:
    """Weights of models of one kind as layers (M, n_in + 1, n_out), in the order of `lib.sequential`."""
    found = []
    for layers in zip(*(m.layers for m in models), strict=True):
        if layers[0].weights:
            each = [[w.numpy() for w in layer.weights] for layer in layers]
            rows = [np.concatenate([w.reshape(-1, w.shape[-1]), b[None]]) for w, b in each]
            found.append(tf.constant(np.stack(rows), tf.float32))
    return tuple(found)


# --- what is known ---


def known(model: str, optimised: bool = True) -> Known:
    """A model as a network of `lib.sequential`.

    Args:
        model: JSON text; where it is not compiled, the loss that fits its output and a rate of NaN.
        optimised: Whether the optimiser must be known, too; else plain descent stands for one that is not.

    Raises:
        UnknownError: Names the layers, the loss or the option that is not known.
    """
    data = json.loads(model)
    layers = data["config"].get("layers") if isinstance(data.get("config"), Mapping) else None
    if layers is None or data["class_name"] not in ("Sequential", "Functional"):
        raise UnknownError(f"a {data['class_name']} is no row of layers")
    image, steps, before, decays = None, [], None, set()
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        _check_chain(layer, before)
        before = layer.get("name")
        if image is None:
            shape = config.get("batch_shape") or layer.get("build_config", {}).get("input_shape")
            if shape is None or None in shape[1:]:
                raise UnknownError("the shape of an image is not told by the model")
            image = tuple(shape[1:])
        if kind != "InputLayer":
            steps += _steps(kind, config, decays, steps, image)
    compiled = data.get("compile_config") or {}
    if not steps or steps[-1][0] not in sequential.ACTIVATIONS:
        steps.append(("linear",))
    net = _net(image, steps, compiled.get("loss"))
    if len(decays) > 1:
        raise UnknownError("layers with different L2 penalties")
    rule, rate = _rule(compiled.get("optimizer"), max(decays, default=0.0), optimised)
    return Known(net, rule, rate)


def _check_chain(layer: Mapping, before: str | None) -> None:
    nodes = layer.get("inbound_nodes")
    if nodes:
        found = json.dumps(nodes)
        if len(nodes) != 1 or found.count("keras_history") != 1 or f'["{before}", 0, 0]' not in found:
            raise UnknownError(f"layer {layer['config'].get('name')} does not simply follow the one before")


def _activation(value: Any) -> list[tuple]:
    value = value.get("config", value) if isinstance(value, dict) else value
    value = value.get("name", value) if isinstance(value, dict) else value
    names = {"leaky_relu": ("leaky relu", 0.2), None: ("linear",)}
    step = names.get(value, (value,))
    if step[0] not in sequential.ACTIVATIONS:
        raise UnknownError(f"activation {value!r}")
    return [step]


def _square(config: Mapping, *names: str) -> list[int]:
    sides = [config[name] for name in names]
    sides = [[side, side] if isinstance(side, int) else list(side) for side in sides]
    if any(len(set(side)) != 1 for side in sides) or config.get("data_format") == "channels_first":
        raise UnknownError(f"{config['name']}: windows that are not square, or channels first")
    return [side[0] for side in sides]


def _steps(kind: str, config: Mapping, decays: set, before: list, image: tuple) -> list[tuple]:
    if config.get("trainable") is False:
        raise UnknownError(f"{config['name']}: weights that are not trained")
    if kind in ("Dense", "Conv2D"):
        if not config["use_bias"] or config.get("groups", 1) != 1:
            raise UnknownError(f"{config['name']}: no bias, or groups of channels")
        if config.get("kernel_constraint") or config.get("bias_constraint") or config.get("bias_regularizer"):
            raise UnknownError(f"{config['name']}: a constraint, or a penalty on the bias")
        decays.add(_penalty(config))
        if kind == "Dense":
            return [("dense", config["units"]), *_activation(config["activation"])]
        if set(np.ravel(config["dilation_rate"])) != {1}:
            raise UnknownError(f"{config['name']}: a dilated kernel")
        size, stride = _square(config, "kernel_size", "strides")
        step = ("conv", config["filters"], size, stride, config["padding"])
        return [step, *_activation(config["activation"])]
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        name = "max pool" if kind == "MaxPooling2D" else "average pool"
        return [(name, *_square(config, "pool_size", "strides"), config["padding"])]
    if kind in ("GlobalAveragePooling2D", "GlobalMaxPooling2D") and not config.get("keepdims"):
        height, width, _ = sequential.places(image, before)[-1]
        if height == width:
            name = "max pool" if "Max" in kind else "average pool"
            return [(name, height, height, "valid"), ("flatten",)]
    if kind == "Flatten" and config.get("data_format") != "channels_first":
        return [("flatten",)]
    if kind == "Dropout" and config.get("noise_shape") is None:
        return [("dropout", config["rate"])]
    if kind == "Activation":
        return _activation(config["activation"])
    if kind == "LeakyReLU":
        return [("leaky relu", config["negative_slope"])]
    if kind == "ReLU" and config.get("max_value") is None and not config.get("threshold"):
        slope = config.get("negative_slope", 0)
        return [("leaky relu", slope) if slope else ("relu",)]
    if kind == "Softmax" and config.get("axis", -1) == -1:
        return [("softmax",)]
    raise UnknownError(f"{config.get('name', kind)}: a layer {kind}, or this option of it")


def _penalty(config: Mapping) -> float:
    penalty = config.get("kernel_regularizer")
    if not penalty:
        return 0.0
    if penalty["class_name"] != "L2":
        raise UnknownError(f"{config['name']}: a penalty {penalty['class_name']}")
    return 2 * float(penalty["config"]["l2"])  # of l2 |w|^2 in the loss


_LOSSES = {
    "categorical_crossentropy": "cross-entropy",
    "sparse_categorical_crossentropy": "cross-entropy",
    "binary_crossentropy": "binary cross-entropy",
    "mean_squared_error": "squared error",
    "mse": "squared error",
}


def _kind(loss: Any, classes: int) -> tuple[str, float]:
    """Name in `lib.sequential.LOSSES` of a loss of Keras, and the factor that its mean over outputs makes."""
    config = loss.get("config", {}) if isinstance(loss, dict) else {}
    name = config.get("name", loss.get("class_name")) if isinstance(loss, dict) else loss
    if name not in _LOSSES or config.get("label_smoothing"):
        raise UnknownError(f"loss {name!r}, or an option of it")
    kind = _LOSSES[name]
    return kind, {"binary cross-entropy": 1 / classes, "squared error": 2 / classes}.get(kind, 1.0)


def _net(image: tuple, steps: list[tuple], loss: Any) -> Net:
    output = steps[-1][0]
    if loss is None:  # what fits the output
        loss = {"class_name": "binary_crossentropy" if output == "sigmoid" else "categorical_crossentropy"}
        loss["config"] = {"from_logits": output == "linear"}
    kind, factor = _kind(loss, sequential.places(image, steps)[-1][0])
    if isinstance(loss, dict) and loss.get("config", {}).get("from_logits"):
        if output != "linear":
            raise ModelError(
                f"the loss takes its outputs for logits (from_logits=True), but they are {output}: the "
                "output's activation is then applied twice. Take it away, or set from_logits=False"
            )
        steps = [*steps[:-1], ("softmax",) if kind == "cross-entropy" else ("sigmoid",)]
    try:
        return Net(image, tuple(steps), kind, factor)
    except ValueError as e:
        raise ModelError(str(e)) from None


def _rule(optimiser: Any, decay: float, needed: bool) -> tuple[Rule, float]:
    if not optimiser:
        return Rule(decay=decay), float("nan")
    kind, config = optimiser["class_name"], optimiser["config"]
    rate = config["learning_rate"]
    plain = isinstance(rate, float | int) and not any(
        config.get(name)
        for name in ("weight_decay", "clipnorm", "clipvalue", "use_ema", "nesterov", "amsgrad")
    )
    plain = plain and config.get("beta_2", 0.999) == 0.999
    clip = config.get("global_clipnorm")
    if plain and kind == "SGD" and not config["momentum"]:
        return Rule("sgd", 0.0, clip, decay), float(rate)
    if plain and kind == "SGD":
        return Rule("momentum", float(config["momentum"]), clip, decay), float(rate)
    if plain and kind == "Adam" and config["epsilon"] == sequential.EPSILON:
        return Rule("adam", float(config["beta_1"]), clip, decay), float(rate)
    if needed:
        raise UnknownError(f"optimiser {kind}, or an option of it")
    return Rule("adam" if "Adam" in kind else "sgd", 0.9, clip, decay), float("nan")


# --- Keras's own loop ---


class Loop:
    """One model with fresh weights, trained by a compiled loop of Keras."""

    def __init__(self, model: str, seed: int, classes: int):
        """Draws the weights.

        Args:
            model: JSON text.
            seed: Of the weights.
            classes: Number of classes K.

        Raises:
            ModelError: The model's output is not one row of K numbers, or the loss wants something else.
        """
        compiled = json.loads(model)["compile_config"]
        self.model = drawn(model, seed)
        if self.model.output_shape != (None, classes):
            raise ModelError(
                f"the model has outputs {self.model.output_shape}, wanted (None, {classes}) for the classes"
            )
        self.optimiser = tf.keras.optimizers.deserialize(compiled["optimizer"])
        self.optimiser.build(self.model.trainable_variables)
        loss = tf.keras.losses.get(compiled["loss"])
        self.classes, sparse = classes, "sparse" in str(compiled["loss"]).lower()
        self.loss, self.factor = _kind(compiled["loss"], classes)

        def mean(x, labels, training):
            z = self.model(x, training=training)
            y = labels[:, None] if sparse else tf.one_hot(labels, classes)
            return tf.reduce_mean(loss(y, z)), z

        @tf.function
        def epoch(x, labels, batches):
            seen = tf.TensorArray(tf.float32, len(batches))
            for i in tf.range(len(batches)):
                with tf.GradientTape() as tape:
                    value, _ = mean(tf.gather(x, batches[i]), tf.gather(labels, batches[i]), True)
                    whole = value + sum(self.model.losses)
                self.optimiser.apply(tape.gradient(whole, self.model.trainable_variables))
                seen = seen.write(i, value)
            return seen.stack()

        @tf.function
        def slopes(x, labels):
            with tf.GradientTape() as tape:
                value, z = mean(x, labels, False)
            return value, z, tape.gradient(value, self.model.trainable_variables)

        self._epoch, self._slopes = epoch, slopes

    def fit(self, x: tf.Tensor, labels: tf.Tensor, batches: np.ndarray) -> np.ndarray:
        """Train on batches (T, B); returns each batch's loss before its update (T,)."""
        return self._epoch(x, labels, tf.constant(batches, tf.int32)).numpy()

    def accuracy(self, x: tf.Tensor, labels: np.ndarray) -> float:
        """Accuracy on images in %."""
        parts = [slice(i, i + PIECE) for i in range(0, len(x), PIECE)]
        guess = [diagnose.guess(self.model(x[part], training=False).numpy()) for part in parts]
        return 100 * float(np.mean(np.concatenate(guess) == labels))

    def look(self, x: tf.Tensor, labels: tf.Tensor) -> Symptoms:
        """What can be measured without knowing the layers, for one member; NaN elsewhere.

        Args:
            x: Images (N, ...).
            labels: int32 (N,).
        """
        level = self.factor * sequential.level(self.loss, labels.numpy(), self.classes)
        loss, z, gradient = self._slopes(x, labels)
        guess = diagnose.guess(z.numpy())
        flat = [np.ravel(g.numpy()).astype(np.float64) for g in gradient]
        held = [np.ravel(w.numpy()) for w in self.model.trainable_variables]
        nan = np.full(1, np.nan)
        return Symptoms(
            loss=np.array([float(loss)]),
            level=np.array([level]),
            accuracy=np.array([100 * np.mean(guess == labels.numpy())]),
            predicted=np.array([[np.mean(guess == c) for c in range(self.classes)]]),
            slope=nan[:, None],
            lost=nan[:, None],
            gradient=np.array([[np.linalg.norm(g) for g in flat]]),
            nonzero=np.array([[np.mean(g != 0) for g in flat]]),
            norm=np.array([[np.linalg.norm(w) for w in held]]),
            stride=nan[:, None],
            gain=nan,
            sharpness=nan,
            batch_sharpness=nan,
            finite=np.array([np.isfinite(loss) and all(np.isfinite(w).all() for w in held)]),
        )
