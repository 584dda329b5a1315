"""Keras models as sequential networks of this library, drawn anew by seed, or trained as they are one by one.

A model travels as its JSON text, which holds architecture and compiled optimiser but no weights and no code.
"""

import functools
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib import convnets, curvature, diagnose, streams
from lib.backend import tf
from lib.own import sequential, symptoms
from lib.own.sequential import Net, Rule
from lib.own.symptoms import PIECE, Symptoms


class ModelError(ValueError):
    """A model that cannot be used, in one line; notebooks show no stack."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def in_short(error: Exception) -> str:
    """What an error of Keras or of the reader's own code says, in one line of 200 letters at most."""
    return " ".join(str(error).split())[:200]


class UnknownError(ModelError):
    """A model with something in it that `lib.own.sequential` does not know; Keras itself can train it."""


@dataclass(frozen=True)
class Outline(sequential.Judged):
    """What can be told of a model that `lib.own.sequential` does not know, under the names of its `Net`.

    Attributes:
        image: Shape of an image; None where any length will do.
        names: Of each layer with weights that are trained.
        steps: Activations of its layers, the output's last; not those within a layer, or in a loop.
        unit_names: Name of the layer that each stands on.
        outputs: Number of outputs; one stands for two classes.
        loss: Name in `lib.own.sequential.LOSSES`.
        factor: On the loss.
    """

    image: tuple[int | None, ...]
    names: tuple[str, ...]
    steps: tuple[tuple, ...]
    unit_names: tuple[str, ...]
    outputs: int
    loss: str
    factor: float

    @property
    def units(self) -> range:
        """Numbers of the steps that are activations: all."""
        return range(len(self.steps))

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return max(self.outputs, 2)


class Known(NamedTuple):
    """A model as this library knows it: its network, how it is trained, and its learning rate."""

    net: Net | Outline
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
        with zipfile.ZipFile(path) as file:
            foreign = next(_foreign(json.loads(file.read("config.json"))), None)
    except (KeyError, ValueError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path}: no Keras model: {e}") from None
    if foreign:
        raise ModelError(
            f"{path}: wants code to be run that the file brings or needs: {foreign}. Build the model "
            "of layers, losses and functions that Keras has"
        )
    try:
        with warnings.catch_warnings():  # of an optimiser that has made no step: nothing is lost
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return tf.keras.models.load_model(path, safe_mode=True)
    except Exception as e:  # what Keras raises for files of all kinds is no closed list
        raise ModelError(f"{path}: no Keras model: {in_short(e)}") from None


def _foreign(config: Any) -> Iterator[str]:
    """What a saved model names that is not Keras's own, or is code; told before Keras reads the file."""
    if isinstance(config, dict):
        kind, parts = config.get("class_name"), str(config.get("module") or "keras").split(".")
        # of Keras's own, utils and saving hold functions that fetch and read files
        foreign = parts[0] != "keras" or {"utils", "saving"} & {*parts}
        if kind == "function" and parts == ["builtins"]:  # so Keras writes its own functions
            foreign = str(config.get("config")) not in _LOSSES
        if isinstance(kind, str) and (foreign or "lambda" in kind.lower()):
            yield str(config["config"] if kind == "function" else kind)
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _foreign(value)


def text(model: Any) -> str:
    """A model's JSON text; it must be compiled.

    Raises:
        ModelError: The model was not compiled, or has no such text.
    """
    try:
        found = json.loads(model.to_json())
    except Exception as e:
        raise ModelError(f"the model has no architecture to take: {in_short(e)}") from None
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
    """Weights of models of one kind as layers (M, n_in + 1, n_out), in the order of `lib.own.sequential`."""
    found = []
    for layers in zip(*(m.layers for m in models), strict=True):
        if layers[0].weights:
            each = [[w.numpy() for w in layer.weights] for layer in layers]
            rows = [np.concatenate([w.reshape(-1, w.shape[-1]), b[None]]) for w, b in each]
            found.append(tf.constant(np.stack(rows), tf.float32))
    return tuple(found)


# --- what is known ---


def known(model: str, optimised: bool = True) -> Known:
    """A model as a network of `lib.own.sequential`.

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
        if nodes := layer.get("inbound_nodes"):
            found = json.dumps(nodes)
            if len(nodes) != 1 or found.count("keras_history") != 1 or f'["{before}", 0, 0]' not in found:
                raise UnknownError(f"layer {config.get('name')} that does not simply follow the one before")
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
    net = _net(image, steps, compiled)
    if len(decays) > 1:
        raise UnknownError("layers with different L2 penalties")
    rule, rate = _rule(compiled.get("optimizer"), max(decays, default=0.0), optimised)
    return Known(net, rule, rate)


def _activation(value: Any) -> tuple:
    value = value.get("config", value) if isinstance(value, dict) else value
    value = value.get("name", value) if isinstance(value, dict) else value
    if isinstance(value, dict):
        raise UnknownError("an activation of the reader's own")
    names = {"leaky_relu": ("leaky relu", 0.2), "swish": ("silu",), None: ("linear",)}
    names["softmax_v2"] = ("softmax",)  # as TensorFlow calls its own
    step = names.get(value, (value,))
    if step[0] not in sequential.ACTIVATIONS:
        raise UnknownError(f"activation {value!r}")
    return step


def _place(image: tuple, steps: list[tuple]) -> tuple:
    """Shape of the last step's values."""
    try:
        return sequential.places(image, steps)[-1]
    except ValueError as e:
        raise UnknownError(str(e)) from None


def _square(config: Mapping, *names: str) -> list[int]:
    sides = [np.unique(config[name]).tolist() for name in names]
    if any(len(side) > 1 for side in sides) or config.get("data_format") == "channels_first":
        raise UnknownError(f"{config['name']}: windows that are not square, or channels first")
    return [side for (side,) in sides]


def _steps(kind: str, config: Mapping, decays: set, before: list, image: tuple) -> list[tuple]:
    if config.get("trainable") is False:
        raise UnknownError(f"{config['name']}: weights that are not trained")
    if kind in ("Dense", "Conv2D"):
        if not config["use_bias"] or config.get("groups", 1) != 1:
            raise UnknownError(f"{config['name']}: no bias, or groups of channels")
        if config.get("kernel_constraint") or config.get("bias_constraint") or config.get("bias_regularizer"):
            raise UnknownError(f"{config['name']}: a constraint, or a penalty on the bias")
        penalty = config.get("kernel_regularizer")
        if penalty and penalty["class_name"] != "L2":
            raise UnknownError(f"{config['name']}: a penalty {penalty['class_name']}")
        decays.add(2 * float(penalty["config"]["l2"]) if penalty else 0.0)  # of l2 |w|^2 in the loss
        if kind == "Dense":
            return [("dense", config["units"]), _activation(config["activation"])]
        if set(np.ravel(config["dilation_rate"])) != {1}:
            raise UnknownError(f"{config['name']}: a dilated kernel")
        size, stride = _square(config, "kernel_size", "strides")
        step = ("conv", config["filters"], size, stride, config["padding"])
        return [step, _activation(config["activation"])]
    pool = "max pool" if "Max" in kind else "average pool"
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        return [(pool, *_square(config, "pool_size", "strides"), config["padding"])]
    if kind in ("GlobalAveragePooling2D", "GlobalMaxPooling2D") and not config.get("keepdims"):
        height, width, _ = _place(image, before)
        if height == width:
            return [(pool, height, height, "valid"), ("flatten",)]
    if kind == "Flatten" and config.get("data_format") != "channels_first":
        return [("flatten",)]
    if kind == "Dropout" and config.get("noise_shape") is None:
        return [("dropout", config["rate"])]
    if kind == "Activation":
        return [_activation(config["activation"])]
    if kind == "LeakyReLU":
        return [("leaky relu", config["negative_slope"])]
    if kind == "ReLU" and config.get("max_value") is None and not config.get("threshold"):
        slope = config.get("negative_slope", 0)
        return [("leaky relu", slope) if slope else ("relu",)]
    if kind == "Softmax" and config.get("axis", -1) == -1:
        return [("softmax",)]
    raise UnknownError(f"{config.get('name', kind)}: a layer {kind}, or this option of it")


_LOSSES = {
    "categorical_crossentropy": "cross-entropy",
    "sparse_categorical_crossentropy": "cross-entropy",
    "binary_crossentropy": "binary cross-entropy",
    "mean_squared_error": "squared error",
    "mse": "squared error",
}


_MEANS = "sum_over_batch_size", "mean", "auto"  # reductions


def loss_of(compiled: Mapping | None) -> Any:
    """The compiled loss: the one of a list of one, and by name if it is a function of Keras."""
    loss, weights = ((compiled or {}).get(name) for name in ("loss", "loss_weights"))
    if weights not in (None, 1, [1]):
        raise UnknownError(f"loss_weights={weights}; leave them out, a learning rate does the same")
    if isinstance(loss, dict) and "class_name" not in loss:
        loss = list(loss.values())
    if isinstance(loss, list) and len(loss) == 1:
        (loss,) = loss
    return loss["config"] if isinstance(loss, dict) and loss["class_name"] == "function" else loss


def _fitting(output: str) -> dict:
    """The loss that fits an output, in Keras's words."""
    kind = "BinaryCrossentropy" if output == "sigmoid" else "CategoricalCrossentropy"
    config = {"name": kind.lower().replace("cross", "_cross"), "from_logits": output == "linear"}
    return {"module": "keras.losses", "class_name": kind, "config": config, "registered_name": None}


def _judged(loss: str | dict, output: str, outputs: int) -> tuple[str, float, str]:
    """Name in `sequential.LOSSES` of a loss of Keras, and the factor that its mean over outputs makes.

    And the activation of the outputs that it amounts to.

    Raises:
        ModelError: It is not known, or does not fit the outputs; says what to write.
    """
    config = loss.get("config", {}) if isinstance(loss, dict) else {}
    name = config.get("name", loss.get("class_name")) if isinstance(loss, dict) else loss
    if config.get("label_smoothing"):
        raise UnknownError(f"the label_smoothing of loss {name!r}; it must be 0")
    if config.get("reduction", _MEANS[0]) not in _MEANS or config.get("ignore_class") is not None:
        raise UnknownError(f"the reduction or the ignore_class of loss {name!r}; it must be a mean over all")
    if not isinstance(name, str) or name not in _LOSSES:
        raise UnknownError(f"loss {name!r}; known are {', '.join(_LOSSES)}")
    kind, classes = _LOSSES[name], max(outputs, 2)
    factor = {"binary cross-entropy": 1 / classes, "squared error": 2 / classes}.get(kind, 1.0)
    fits = sequential.FITTING.get(kind)
    if outputs == 1 and (kind == "cross-entropy" or output == "softmax"):
        raise ModelError(
            "the model has one output, on which softmax is always 1 and categorical cross-entropy 0: for two "
            "classes give it activation='sigmoid' and the loss 'binary_crossentropy'; for more, one for each"
        )
    if config.get("from_logits"):
        # where it fits, Keras takes the logits before it by itself
        if output not in ("linear", fits, UNTOLD):
            raise ModelError(
                f"the loss takes its outputs for logits (from_logits=True), but they are {output}: take the "
                "activation of the last layer away"
            )
        return kind, factor, fits
    if fits and output not in sequential.LOSSES[kind] and output in sequential.ACTIVATIONS:
        logits = ", or the loss from_logits=True" if output == "linear" else ""
        raise ModelError(
            f"the loss takes outputs of {' or '.join(sequential.LOSSES[kind])}, but they are {output}: give "
            f"the last layer activation={fits!r}{logits}"
        )
    return kind, factor, output


def _net(image: tuple, steps: list[tuple], compiled: Mapping) -> Net:
    *more, outputs = _place(image, steps)
    if more:
        raise ModelError(f"the model gives {(*more, outputs)} for an image, wanted one row of numbers{_ROW}")
    output = steps[-1][0]
    kind, factor, output = _judged(loss_of(compiled) or _fitting(output), output, outputs)
    if outputs == 1:
        raise UnknownError("one output for two classes")
    try:
        return Net(image, (*steps[:-1], (output, *steps[-1][1:])), kind, factor)
    except ValueError as e:
        raise UnknownError(str(e)) from None


def _rule(optimiser: Any, decay: float, needed: bool) -> tuple[Rule, float]:
    if not optimiser:
        return Rule(decay=decay), float("nan")
    while "inner_optimizer" in optimiser["config"]:
        optimiser = optimiser["config"]["inner_optimizer"]
    kind, config = optimiser["class_name"], optimiser["config"]
    rate, clip = config["learning_rate"], config.get("global_clipnorm")
    rate = float(rate) if isinstance(rate, float | int) else float("nan")  # of a schedule
    options = ("weight_decay", "clipnorm", "clipvalue", "use_ema", "nesterov", "amsgrad")
    plain = not np.isnan(rate) and not any(config.get(name) for name in options)
    plain = plain and config.get("beta_2", 0.999) == 0.999
    if kind == "SGD" and (plain or not needed):
        momentum = float(config["momentum"])
        return Rule("momentum" if momentum else "sgd", momentum, clip, decay), rate
    if plain and kind == "Adam" and config["epsilon"] == sequential.EPSILON:
        return Rule("adam", float(config["beta_1"]), clip, decay), rate
    if needed:
        raise UnknownError(f"optimiser {kind}, or an option of it")
    return Rule("adam", 0.9, clip, decay), rate  # nearest to those that scale each weight's own step


# --- as Keras knows it ---

_SAID = ("relu", "sigmoid", "tanh")  # activations whose slope their value tells
UNTOLD = "not told"  # of outputs that come from a layer of the reader's own
_PASSED = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze")  # layers that hand values on
_ROW = "; Flatten or a global pooling makes one of it"
_UNITS = ("Activation", "Dense", "LeakyReLU", "ReLU", "Softmax")  # and all convolutions


@functools.lru_cache(maxsize=8)
def outline(model: str) -> Known:
    """A model of any layers, by what Keras tells of it; with a rate of NaN where it is a schedule.

    Args:
        model: JSON text, as from `text`.

    Raises:
        ModelError: The loss is not known or does not fit the outputs, or they are no row of numbers.
    """
    return Watched(drawn(model, 0), json.loads(model)["compile_config"]).known


def _outlined(model: Any, compiled: Mapping | None) -> tuple[Known, list, str | dict]:
    """What is known of a model; for each activation, the value in it that tells the slope, if one does.

    And its loss: the one that fits its output where it was not compiled.
    """
    if not isinstance(model.input_shape, tuple):
        raise ModelError(f"the model takes {len(model.input_shape)} inputs, wanted images alone")
    if not model.trainable_variables:
        raise ModelError("the model has no weights that are trained")
    found, before = [], "input"
    for layer in model.layers:
        before = layer.name if layer.trainable_variables else before
        if _has_unit(layer):
            with suppress(AttributeError, ValueError):  # used twice, or never in a row
                found.append((_name(layer), before, layer.output))
    found = [each for each in found if each[0] != "linear"]
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or not isinstance(shape[1], int):
        raise ModelError(f"the model gives {shape} for images, wanted one row of numbers for each{_ROW}")
    source, made = _made(model)
    if not found or found[-1][2] is not source:
        found.append((made, before, None))
    units, at, values = zip(*found, strict=True)
    if not compiled and units[-1] == UNTOLD:
        raise ModelError("the model must be compiled: its last layer does not tell what its outputs are")
    loss = loss_of(compiled) or _fitting(units[-1])
    kind, factor, output = _judged(loss, units[-1], shape[1])
    units = (*units[:-1], output)
    names = tuple(layer.name for layer in model.layers if layer.trainable_variables)
    steps = tuple((unit,) for unit in units)
    net = Outline(tuple(model.input_shape[1:]), names, steps, at, shape[1], kind, factor)
    fits = output == sequential.FITTING.get(kind)
    told = [unit in _SAID for unit in units[:-1]] + [output in _SAID and not fits]
    values = [value if said else None for value, said in zip(values, told, strict=True)]
    return Known(net, *_rule((compiled or {}).get("optimizer"), 0.0, False)), values, loss


def _has_unit(layer: Any) -> bool:
    """Whether a layer is or has an activation that can be told."""
    return type(layer).__name__ in _UNITS or "Conv" in type(layer).__name__


def _name(layer: Any) -> str:
    """Name of a layer's activation, as here, or else as in Keras."""
    kind, config = type(layer).__name__, layer.get_config()
    try:
        given = "activation" in config
        return _activation(config["activation"])[0] if given else _steps(kind, config, set(), [], ())[0][0]
    except UnknownError:
        return getattr(getattr(layer, "activation", None), "__name__", kind)


def _made(model: Any) -> tuple[Any, str]:
    """What a model's outputs are, but for layers that hand it on, and the activation that made it."""
    source = model.outputs[0]
    while type(layer := source._keras_history.operation).__name__ in _PASSED:
        source = layer.input
    if getattr(layer, "layers", None):
        return source, _made(layer)[1]
    if isinstance(layer, tf.keras.layers.Layer) and type(layer).__module__.startswith("keras."):
        return source, _name(layer) if _has_unit(layer) else "linear"
    name = type(layer).__name__.lower()  # of keras.ops
    return source, name if name in sequential.ACTIVATIONS else UNTOLD


def single(model: Any) -> Any:
    """A model of one input and one output, which may lie in a list or under a name: as a plain one."""
    if isinstance(model, tf.keras.Sequential) or [*map(len, (model.inputs, model.outputs))] != [1, 1]:
        return model
    bare = all(isinstance(end, tf.keras.KerasTensor) for end in (model.input, model.output))
    return model if bare else tf.keras.Model(model.inputs[0], model.outputs[0])


# --- Keras's own loop ---


class Watched:
    """A model that is looked at through Keras alone: slower than `lib.own.symptoms`, and of any layers."""

    def __init__(self, model: Any, compiled: Mapping | None):
        """Makes ready.

        Args:
            model: That has been built.
            compiled: Its compiled optimiser and loss; None for the loss that fits its output.

        Raises:
            ModelError: As `outline` does.
        """
        self.model = model = single(model)
        self.known, values, chosen = _outlined(model, compiled)
        self.net = net = self.known.net
        loss, sparse = tf.keras.losses.get(chosen), "sparse" in str(chosen).lower()
        seen = {k: value for k, value in enumerate(values) if value is not None}
        within = tf.keras.Model(model.inputs, [*seen.values(), model.outputs[0]]) if seen else None
        self.variables = variables = model.trainable_variables
        number = {id(v): k for k, v in enumerate(variables)}
        by_layer = [layer.trainable_variables for layer in model.layers]
        self._layers = [[number[id(v)] for v in own] for own in by_layer if own]
        logits = isinstance(chosen, dict) and chosen.get("config", {}).get("from_logits")
        self.middle = 0.0 if logits else 0.5  # of one output: above it, it says class 1

        def mean(x, labels, training=False):
            z = model(x, training=training)
            y = labels[:, None] if sparse or net.outputs == 1 else tf.one_hot(labels, net.outputs)
            return tf.reduce_mean(loss(tf.cast(y, z.dtype), z)), z

        def gradients(tape, value):  # dense: of an embedding a tape gives rows alone
            found = tape.gradient(value, variables, unconnected_gradients="zero")
            return [tf.convert_to_tensor(g) for g in found]

        def slopes(x):
            *found, _ = within(x, training=False)
            units = [sequential.ACTIVATIONS[net.steps[k][0]] for k in seen]
            found = [unit.slope(h, h) for unit, h in zip(units, found, strict=True)]
            return [tf.reduce_mean(s, axis=list(range(s.shape.rank - 1))) for s in found]

        @tf.function(autograph=False)
        def all_of(x, labels):
            with tf.GradientTape() as tape:
                value, z = mean(x, labels)
            gradient = gradients(tape, value)
            return value, z, gradient, slopes(x) if within else []

        @tf.function(autograph=False)
        def product(x, labels, vectors):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    value, _ = mean(x, labels)
                gradient = gradients(inner, value)
                others = gradient if vectors is None else vectors
                pairs = zip(gradient, others, strict=True)
                along = sum(tf.reduce_sum(g * tf.stop_gradient(v)) for g, v in pairs)
            return gradient, gradients(outer, along)

        self.mean, self._all_of, self._product = mean, all_of, product
        self._measured = list(seen)

    def guess(self, z: np.ndarray) -> np.ndarray:
        """The class that each image is taken for (N,), of the model's output (N, K); -1 for none."""
        if self.net.outputs > 1:
            return diagnose.guess(z)
        return np.where(np.isfinite(z[:, 0]), z[:, 0] > self.middle, -1)

    def measure(
        self, x: np.ndarray, labels: np.ndarray, *, rate: float, batch: int, seed: int, curved: bool = True
    ) -> Symptoms:
        """Symptoms of the one model, of images (N, ...); NaN where its layers do not tell.

        All else as in `lib.own.symptoms.measure`. Dropout drops nothing, normalisations take the means that
        they keep.
        """
        x, labels = tf.convert_to_tensor(x), tf.constant(labels, tf.int32)
        pieces = [slice(i, i + PIECE) for i in range(0, len(x), PIECE)]
        shares = [len(x[p]) / len(x) for p in pieces]
        loss, z, gradient, slopes = zip(*(self._all_of(x[p], labels[p]) for p in pieces), strict=True)

        def mean(each):
            pairs = zip(shares, each, strict=True)
            return sum(share * value.numpy().astype(np.float64) for share, value in pairs)

        guess = self.guess(np.concatenate(z))
        flat = [mean(each).reshape(1, -1, 1) for each in zip(*gradient, strict=True)]
        held = [v.numpy().reshape(1, -1, 1) for v in self.variables]
        loss = np.array([mean(loss)])
        measured = dict(zip(self._measured, zip(*slopes, strict=True), strict=True))
        units = self.net.units
        slope = [mean(measured[k])[None] if k in measured else np.full((1, 1), np.nan) for k in units]
        lost = [symptoms.lost(step[0], s) for step, s in zip(self.net.steps, slope, strict=True)]
        nan = np.full(1, np.nan)
        step = symptoms.first_step(flat, self.known.rule, rate)
        both = [[np.concatenate([of[k].ravel() for k in own]) for own in self._layers] for of in (flat, held)]
        return Symptoms(
            loss=loss,
            level=np.array([self.net.level(labels.numpy())]),
            accuracy=np.array([100 * np.mean(guess == labels.numpy())]),
            predicted=np.array([[np.mean(guess == c) for c in range(self.net.classes)]]),
            slope=np.stack([s.mean(axis=1) for s in slope], axis=1),
            lost=np.stack(lost, axis=1),
            gradient=np.array([[np.linalg.norm(g) for g in both[0]]]),
            nonzero=np.array([[np.mean(g != 0) for g in both[0]]]),
            norm=np.array([[np.linalg.norm(w) for w in both[1]]]),
            stride=np.full((1, len(slope)), np.nan),
            gain=symptoms.gain(flat, step, loss),
            sharpness=self._sharpness(x, labels, seed) if curved else nan,
            batch_sharpness=self._batch_sharpness(x, labels, batch) if curved else nan,
            finite=np.isfinite(loss) & all(np.isfinite(w).all() for w in held),
        )

    def _sharpness(self, x: tf.Tensor, labels: tf.Tensor, seed: int) -> np.ndarray:
        x, labels = x[: symptoms.CURVED], labels[: symptoms.CURVED]
        cuts = np.cumsum([v.shape.num_elements() for v in self.variables])

        def product(row):
            cut = zip(np.split(np.float32(row[0]), cuts[:-1]), self.variables, strict=True)
            found = self._product(x, labels, [tf.constant(part.reshape(v.shape)) for part, v in cut])[1]
            return np.concatenate([h.numpy().ravel() for h in found])[None]

        return symptoms.sharpness(product, int(cuts[-1]), [seed])

    def _batch_sharpness(self, x: tf.Tensor, labels: tf.Tensor, batch: int) -> np.ndarray:
        def met(part):
            gradient, along = self._product(x[part], labels[part], None)
            both = (zip(gradient, of, strict=True) for of in (along, gradient))
            return [[sum(float(tf.reduce_sum(g * v)) for g, v in pairs)] for pairs in both]

        return curvature.batch_sharpness(met, len(x), batch)


class Loop(Watched):
    """One model with fresh weights, trained by a compiled loop of Keras."""

    def __init__(self, model: str, seed: int, classes: int):
        """Draws the weights.

        Args:
            model: JSON text.
            seed: Of the weights, and of where the search for an eigenvalue starts.
            classes: Number of classes K.

        Raises:
            ModelError: The model's output is not one row of K numbers, or the loss wants something else.
        """
        compiled = json.loads(model)["compile_config"]
        super().__init__(drawn(model, seed), compiled)
        self.seed = seed
        if self.net.classes != classes:
            raise ModelError(f"the model has {self.net.outputs} outputs, the images {classes} classes")
        self.optimiser = tf.keras.optimizers.deserialize(compiled["optimizer"])
        self.optimiser.build(self.variables)

        @tf.function(autograph=False)
        def epoch(x, labels, batches):
            def step(i):
                with tf.GradientTape() as tape:
                    batch = tf.gather(x, batches[i]), tf.gather(labels, batches[i])
                    value, _ = self.mean(*batch, training=True)
                    whole = value + sum(self.model.losses)
                self.optimiser.apply(tape.gradient(whole, self.variables))
                return (value,)

            return convnets.recorded(step, tf.shape(batches)[0])[0]

        self._epoch = epoch

    def fit(self, x: tf.Tensor, labels: tf.Tensor, batches: np.ndarray) -> np.ndarray:
        """Train on batches (T, B); returns each batch's loss before its update (T,)."""
        return self._epoch(x, labels, tf.constant(batches, tf.int32)).numpy()

    def accuracy(self, x: tf.Tensor, labels: np.ndarray) -> float:
        """Accuracy on images in %."""
        parts = [slice(i, i + PIECE) for i in range(0, len(x), PIECE)]
        guess = [self.guess(self.model(x[part], training=False).numpy()) for part in parts]
        return 100 * float(np.mean(np.concatenate(guess) == labels))

    def look(self, x: tf.Tensor, labels: tf.Tensor, rate: float, batch: int, curved: bool) -> Symptoms:
        """As `measure`."""
        return self.measure(x, labels.numpy(), rate=rate, batch=batch, seed=self.seed, curved=curved)
