"""Small models of many kinds, each with weights and inputs of a seed.

They are untrained, but their normalizations are calibrated and their biases have values, so that
nothing in them is without effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

ROWS = 32

Family = Callable[[np.random.Generator], tuple[keras.Model, Any]]
"""Takes a random generator and returns a model and its inputs."""


def build(name: str, seed: int) -> tuple[keras.Model, Any]:
    """Build a family with the weights and inputs of a seed."""
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    model, inputs = FAMILIES[name](random)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta")):
            weight.assign(random.normal(0, 0.1, weight.shape))
        elif weight.path.endswith("gamma"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    normalizations = [
        each for each in model._flatten_layers() if isinstance(each, layers.BatchNormalization)
    ]
    for each in normalizations:
        each.momentum = 0.0
    if normalizations:
        model(inputs, training=True)
    return model, inputs


def _chain(shape: tuple[int, ...], make: Callable[[], Iterable[Any]], low: float = -1.0) -> Family:
    """Make a family of layers (or functions) in a row, on uniform numbers up to 1."""

    def family(random: np.random.Generator) -> tuple[keras.Model, np.ndarray]:
        entry = hidden = keras.Input(shape, name="entry")
        for layer in make():
            hidden = layer(hidden)
        inputs = random.uniform(low, 1, (ROWS, *shape)).astype(np.float32)
        return keras.Model(entry, hidden, name="family"), inputs

    return family


def _tokens(make: Callable[[], Iterable[Any]], *, padded: bool = False) -> Family:
    def family(random: np.random.Generator) -> tuple[keras.Model, np.ndarray]:
        entry = hidden = keras.Input((12,), dtype="int32", name="entry")
        for layer in make():
            hidden = layer(hidden)
        inputs = random.integers(1, 30, (ROWS, 12)).astype(np.int32)
        if padded:
            inputs[::2, 8:] = 0
        return keras.Model(entry, hidden, name="family"), inputs

    return family


def _classifier(pool: Any = layers.GlobalAveragePooling2D) -> list[layers.Layer]:
    return [pool(), layers.Dense(5, activation="softmax")]


def _normalized_images(norm: Callable[[], layers.Layer], activation: str) -> list[layers.Layer]:
    parts = []
    for channels in (8, 16):
        parts += [layers.Conv2D(channels, 3, padding="same"), norm(), layers.Activation(activation)]
    return [*parts, layers.GlobalAveragePooling2D(), layers.Dense(5)]


def _deep(width: int = 12) -> list[layers.Layer]:
    parts: list[layers.Layer] = []
    for number in range(10):
        parts += [
            layers.Conv2D(
                width, 3, strides=2 if number % 4 == 3 else 1, padding="same", use_bias=False
            ),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    return [*parts, *_classifier()]


def _separable() -> list[layers.Layer]:
    parts: list[layers.Layer] = []
    for _ in range(3):
        parts += [
            layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.Conv2D(12, 1, use_bias=False),
            layers.BatchNormalization(),
        ]
    return [*parts, layers.SeparableConv2D(8, 3), *_classifier()]


def _residual(hidden: Any) -> Any:
    for _ in range(3):
        left = layers.Conv2D(8, 3, padding="same", activation="relu")(hidden)
        hidden = layers.Add()([layers.Conv2D(8, 1)(hidden), left]) + left
    return hidden


def _gated(hidden: Any) -> Any:
    left, right = layers.Dense(8)(hidden), layers.Dense(8, activation="sigmoid")(hidden)
    return layers.Multiply()([left, right]) * 0.5


def _squeeze(hidden: Any) -> Any:
    scale = layers.GlobalAveragePooling2D(keepdims=True)(hidden)
    scale = layers.Conv2D(8, 1, activation="hard_sigmoid")(scale)
    return layers.Multiply()([hidden, scale])


def _transformer(hidden: Any) -> Any:
    for _ in range(2):
        mixed = layers.MultiHeadAttention(2, 8)(hidden, hidden)
        hidden = layers.LayerNormalization()(hidden + mixed)
        wide = layers.Dense(32, activation="relu")(hidden)
        hidden = layers.LayerNormalization()(layers.Add()([hidden, layers.Dense(16)(wide)]))
    return hidden


def _segmenter() -> list[Any]:
    return [
        layers.Resizing(28, 28),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Conv2D(3, 1),
        lambda hidden: hidden * 8,
        layers.Resizing(24, 24),
        layers.Softmax(),
    ]


def _two_inputs(random: np.random.Generator) -> tuple[keras.Model, dict[str, np.ndarray]]:
    image, numbers = keras.Input((8, 8, 1), name="image"), keras.Input((5,), name="numbers")
    hidden = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    hidden = layers.Concatenate()([hidden, layers.Dense(6, activation="tanh")(numbers)])
    model = keras.Model({"image": image, "numbers": numbers}, layers.Dense(3)(hidden))
    shapes = {"image": (ROWS, 8, 8, 1), "numbers": (ROWS, 5)}
    return model, {name: random.normal(size=x).astype(np.float32) for name, x in shapes.items()}


def _dict_outputs(random: np.random.Generator) -> tuple[keras.Model, np.ndarray]:
    entry = keras.Input((6,), name="entry")
    hidden = layers.Dense(8, activation="relu")(entry)
    outputs = {
        "small": layers.Dense(3, name="head_1")(hidden),
        "big": layers.Dense(3, name="head_2")(hidden),
    }
    return keras.Model(entry, outputs), random.normal(size=(ROWS, 6)).astype(np.float32)


def _half(policy: str) -> Family:
    def make() -> list[layers.Layer]:
        return [
            layers.Dense(16, activation="relu", dtype=policy),
            layers.Dense(4, dtype=policy),
        ]

    return _chain((6,), make)


def _application(name: str, size: int) -> Family:
    def family(random: np.random.Generator) -> tuple[keras.Model, np.ndarray]:
        builder = getattr(keras.applications, name)
        model = builder(weights=None, input_shape=(size, size, 3), classes=10)
        top = 255 if name.startswith(("MobileNetV3", "EfficientNet")) else 1
        images = random.uniform(-1, 1, (ROWS, size, size, 3))
        return model, ((images + 1) / 2 * top if top > 1 else images).astype(np.float32)

    return family


def _recurrent(kind: Any) -> list[layers.Layer]:
    return [
        layers.Bidirectional(kind(8, return_sequences=True)),
        kind(6),
        layers.Dense(4),
    ]


def _activations(hidden: Any) -> Any:
    for name in ("elu", "selu", "silu", "softplus", "softsign", "tanh", "leaky_relu", "mish"):
        hidden = layers.Dense(8, activation=name)(hidden)
    return layers.PReLU()(hidden)


GROUPS = layers.GroupNormalization
FAMILIES: dict[str, Family] = {
    "dense": _chain((10,), lambda: [layers.Dense(32, "relu"), layers.Dense(5, "softmax")]),
    "deep dense": _chain((10,), lambda: [layers.Dense(24, "tanh") for _ in range(12)]),
    "wide dense": _chain((30000,), lambda: [layers.Dense(8, "relu"), layers.Dense(3)], low=0.0),
    "activations": _chain((8,), lambda: [_activations]),
    "convolutions": _chain(
        (16, 16, 3), lambda: [layers.Conv2D(8, 3, activation="relu"), *_classifier()]
    ),
    "deep, batch norm": _chain((32, 32, 3), _deep),
    "separable, batch norm": _chain((16, 16, 3), _separable),
    "residual, Add and +": _chain((12, 12, 3), lambda: [_residual, *_classifier()]),
    "Multiply and *": _chain((10,), lambda: [_gated, layers.Dense(4)]),
    "squeeze and excite": _chain(
        (12, 12, 3), lambda: [layers.Conv2D(8, 3), _squeeze, *_classifier()]
    ),
    "transposed": _chain(
        (8, 8, 3),
        lambda: [layers.Conv2DTranspose(8, 3, strides=2), layers.Conv2D(2, 1, activation="tanh")],
    ),
    "dilated": _chain(
        (16, 16, 3),
        lambda: [layers.Conv2D(8, 3, dilation_rate=2, padding="same"), *_classifier()],
    ),
    "causal": _chain(
        (40, 4),
        lambda: [
            layers.Conv1D(8, 3, padding="causal", activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ],
    ),
    "volumes": _chain(
        (8, 8, 8, 2),
        lambda: [
            layers.Conv3D(6, 3, activation="relu"),
            layers.MaxPooling3D(2),
            layers.Flatten(),
            layers.Dense(4),
        ],
    ),
    "group norm": _chain((16, 16, 3), lambda: _normalized_images(partial(GROUPS, 4), "silu"), 0.0),
    "instance norm": _chain(
        (32, 32, 3), lambda: _normalized_images(partial(GROUPS, -1), "relu"), 0.0
    ),
    "group norm, large": _chain(
        (128, 128, 3), lambda: _normalized_images(partial(GROUPS, 4), "relu"), 0.0
    ),
    "layer norm, images": _chain(
        (64, 64, 3),
        lambda: _normalized_images(partial(layers.LayerNormalization, axis=(1, 2, 3)), "relu"),
        0.0,
    ),
    "long average": _chain(
        (128, 128, 3), lambda: [layers.Conv2D(8, 3, activation="relu"), *_classifier()], 0.0
    ),
    "unit norm": _chain(
        (32,), lambda: [layers.Dense(64), layers.UnitNormalization(), layers.Dense(4)]
    ),
    "rms norm": _chain(
        (32,), lambda: [layers.Dense(64), layers.RMSNormalization(), layers.Dense(4)]
    ),
    "segmenter, resized": _chain((24, 24, 3), _segmenter, 0.0),
    "nearest": _chain(
        (8, 8, 3), lambda: [layers.UpSampling2D(2), layers.Conv2D(4, 3), layers.Softmax()]
    ),
    "LSTM": _chain((10, 4), lambda: _recurrent(layers.LSTM)),
    "GRU": _chain((10, 4), lambda: _recurrent(layers.GRU)),
    "SimpleRNN": _chain((10, 4), lambda: _recurrent(layers.SimpleRNN)),
    "transformer": _chain(
        (10, 16), lambda: [_transformer, layers.GlobalAveragePooling1D(), layers.Dense(4)]
    ),
    "embedding": _tokens(
        lambda: [layers.Embedding(30, 8), layers.GlobalAveragePooling1D(), layers.Dense(4)]
    ),
    "masked": _tokens(
        lambda: [layers.Embedding(30, 8, mask_zero=True), layers.GRU(8), layers.Dense(4)],
        padded=True,
    ),
    "two inputs": _two_inputs,
    "dict of outputs": _dict_outputs,
    "mixed_float16": _half("mixed_float16"),
    "MobileNetV2": _application("MobileNetV2", 64),
    "MobileNetV3Small": _application("MobileNetV3Small", 64),
    "ResNet50": _application("ResNet50", 32),
    "DenseNet121": _application("DenseNet121", 32),
    "EfficientNetB0": _application("EfficientNetB0", 32),
}
"""Every family, by name."""
