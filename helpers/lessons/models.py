"""The models that the lessons deploy.

Every builder takes a seed, so that the same call gives the same weights (`helpers.lessons.shifted`
is the one way to change them all). Layers have names of their own: the automatic ones change with
the order in which models are built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers

from helpers.lessons import shifted

if TYPE_CHECKING:
    from helpers.lessons.digits import Digits

CLASS_COUNT = 10


def build_digits_cnn(seed: int = 0) -> keras.Sequential:
    """Build the model of the lessons: a small convolutional network, 21,386 parameters.

    Input ``image``: float32 ``(n, 8, 8, 1)`` in [0, 1]. Output: float32 ``(n, 10)``, one
    probability for each digit. The model is not compiled and not trained.
    """
    keras.utils.set_random_seed(shifted(seed))
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="pool_1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv_2"),
            layers.MaxPooling2D(name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, seed=shifted(seed), name="dropout"),
            layers.Dense(CLASS_COUNT, activation="softmax", name="probabilities"),
        ],
        name="digits_cnn",
    )


def train(
    model: keras.Model, digits: Digits, epochs: int = 25, seed: int = 0
) -> keras.callbacks.History:
    """Compile the model and train it on the digits: about five seconds on two cores.

    The digits CNN reaches at least 95% on the held-out test images (0.958 to 0.983 over 25 seeds,
    0.974 in the median). On one machine, a repeated run
    gives the same weights, bit for bit; another processor may round differently.

    Args:
        model: one input of shape ``(n, 8, 8, 1)``, one output of 10 probabilities.
        digits: what `load_digits` returns. The test part is not used.
        epochs: passes over the training images.
        seed: decides the order of the images and what dropout drops.
    """
    keras.utils.set_random_seed(shifted(seed))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=2e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model.fit(
        digits.train_images,
        digits.train_labels,
        validation_data=(digits.validation_images, digits.validation_labels),
        epochs=epochs,
        batch_size=32,
        verbose=0,
    )


def build_lstm(seed: int = 0) -> keras.Sequential:
    """Build a recurrent model that reads a digit row by row.

    The same input and output as `build_digits_cnn`.
    """
    keras.utils.set_random_seed(shifted(seed))
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Reshape((8, 8), name="rows"),
            # cuDNN's fused kernel has no ONNX counterpart; this one runs everywhere.
            layers.LSTM(32, use_cudnn=False, name="lstm"),
            layers.Dense(CLASS_COUNT, activation="softmax", name="probabilities"),
        ],
        name="lstm",
    )


def build_smooth_cnn(
    activation: str | Callable[..., object] = "gelu", seed: int = 0
) -> keras.Model:
    """Build a small network with an activation to choose; lesson 3 converts it.

    The same input and output as `build_digits_cnn`.
    """
    keras.utils.set_random_seed(shifted(seed))
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, activation=activation, name="conv"),
            layers.Flatten(name="flatten"),
            layers.Dense(CLASS_COUNT, activation="softmax", name="probabilities"),
        ],
        name="smooth",
    )


def build_word_model(vocabulary: Sequence[str], seed: int = 0) -> keras.Sequential:
    """Build a model that looks words up in a table; lesson 3 takes the table out.

    Input ``word``: text ``(n,)``. Output: float32 ``(n, 2)`` probabilities. The layers are
    ``lookup``, ``embedding`` and ``probabilities``.
    """
    keras.utils.set_random_seed(shifted(seed))
    return keras.Sequential(
        [
            keras.Input((), dtype="string", name="word"),
            layers.StringLookup(vocabulary=list(vocabulary), name="lookup"),
            layers.Embedding(len(vocabulary) + 1, 8, name="embedding"),
            layers.Dense(2, activation="softmax", name="probabilities"),
        ],
        name="words",
    )


def build_attention(seed: int = 0) -> keras.Model:
    """Build a one-block transformer encoder over the eight rows of a digit.

    The same input and output as `build_digits_cnn`.
    """
    keras.utils.set_random_seed(shifted(seed))
    image = keras.Input((8, 8, 1), name="image")
    rows = layers.Reshape((8, 8), name="rows")(image)
    tokens = layers.Dense(16, name="embed")(rows)
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=8, name="attention")(tokens, tokens)
    tokens = layers.LayerNormalization(name="norm")(layers.Add(name="add")([tokens, attended]))
    pooled = layers.GlobalAveragePooling1D(name="pool")(tokens)
    probabilities = layers.Dense(CLASS_COUNT, activation="softmax", name="probabilities")(pooled)
    return keras.Model(image, probabilities, name="attention")


def build_mobilenet_v2(
    image_size: int = 224, seed: int = 0, alpha: float = 1.0, classes: int = 1000
) -> keras.Model:
    """Build MobileNetV2 as `keras.applications` does, untrained, with calibrated batch norm.

    Without the calibration every image gets the same answer: the signal fades through 52 layers
    whose statistics are still at their start values. Two different untrained models would then
    "agree" exactly. See `calibrate_batch_norm`.

    Input: float32 ``(n, image_size, image_size, 3)`` in [-1, 1]. Output: float32 ``(n, classes)``.

    Args:
        image_size: rows and columns of an image; at least 32.
        seed: the same seed gives the same weights.
        alpha: width of the network, 1.0 or less.
        classes: probabilities in the output. With alpha 0.35 and 10 classes there are 0.4 million
            parameters, by default 3.5 million.
    """
    keras.utils.set_random_seed(shifted(seed))
    shape = (image_size, image_size, 3)
    model = keras.applications.MobileNetV2(
        input_shape=shape, weights=None, alpha=alpha, classes=classes
    )
    random = np.random.default_rng(shifted(seed))
    calibrate_batch_norm(model, random.uniform(-1, 1, (8, *shape)).astype(np.float32))
    return model


def calibrate_batch_norm(model: keras.Model, images: np.ndarray) -> None:
    """Set the moving mean and variance of every batch norm layer to those of `images`.

    One forward pass in training mode with momentum 0 replaces the statistics instead of blending
    them in. The momentum is put back.
    """
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    try:
        for layer in norms:
            layer.momentum = 0.0
        model(images, training=True)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
