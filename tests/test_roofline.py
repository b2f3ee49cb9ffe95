"""Operation counts against counts by hand, and the verdict."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from helpers import models
from helpers.roofline import (
    UncountableError,
    flops_per_inference,
    gemm_peak_gflops,
    roofline_check,
)

IMAGE = (8, 8, 4)

COUNTS = {
    "dense": ((5,), layers.Dense(3), 5 * 3),
    "dense on every step": ((7, 5), layers.Dense(3), 7 * 5 * 3),
    "einsum": ((7, 5), layers.EinsumDense("abc,cd->abd", (None, 3)), 7 * 5 * 3),
    "convolution": (IMAGE, layers.Conv2D(6, 3, padding="same"), 64 * 9 * 4 * 6),
    "strided": (IMAGE, layers.Conv2D(6, 3, strides=2, padding="same"), 16 * 9 * 4 * 6),
    "in groups": (IMAGE, layers.Conv2D(6, 3, groups=2, padding="same"), 64 * 9 * 2 * 6),
    "one axis": ((8, 4), layers.Conv1D(5, 3), 6 * 3 * 4 * 5),
    "three axes": ((4, 4, 4, 2), layers.Conv3D(3, 2), 27 * 8 * 2 * 3),
    "depthwise": (IMAGE, layers.DepthwiseConv2D(3, padding="same"), 64 * 9 * 4),
    "separable": (IMAGE, layers.SeparableConv2D(6, 3, padding="same"), 64 * (9 * 4 + 4 * 6)),
    "transposed": (IMAGE, layers.Conv2DTranspose(6, 3, strides=2), 64 * 9 * 4 * 6),
    "lstm": ((8, 4), layers.LSTM(5), 8 * (4 + 5) * 4 * 5),
    "gru, both ways": ((8, 4), layers.Bidirectional(layers.GRU(5)), 2 * 8 * (4 + 5) * 3 * 5),
    "unrolled": ((8, 4), layers.SimpleRNN(5, unroll=True), 8 * (4 + 5) * 5),
    "no product": (IMAGE, layers.MaxPooling2D(), 0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_layers_count_as_by_hand(name: str) -> None:
    shape, layer, multiply_adds = COUNTS[name]
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input(shape), layer])
    assert flops_per_inference(model) == 2 * multiply_adds


def test_attention_counts_projections_and_products() -> None:
    tokens = keras.Input((7, 16))
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=8)(tokens, tokens)
    projections, products = 4 * 7 * 16 * 16, 2 * (2 * 7 * 7 * 8)
    assert flops_per_inference(keras.Model(tokens, attended)) == 2 * (projections + products)


def test_a_shared_layer_counts_each_time() -> None:
    shared = layers.Dense(8)
    inputs = keras.Input((8,))
    assert flops_per_inference(keras.Model(inputs, shared(shared(inputs)))) == 2 * 2 * 64


def test_models_count_as_published() -> None:
    assert flops_per_inference(models.build_digits_cnn()) == 2 * (
        64 * 9 * 32 + 16 * 9 * 32 * 64 + 256 * 10
    )
    assert flops_per_inference(models.build_two_branch()) > 0
    # Sandler et al., CVPR 2018, table 4: 300 million multiply-adds at image size 224.
    published = keras.applications.MobileNetV2(weights=None)
    assert flops_per_inference(published) == pytest.approx(2 * 300e6, rel=0.01)


def test_free_axes_cannot_be_counted() -> None:
    model = keras.Sequential([keras.Input((None, 4)), layers.Dense(3)])
    with pytest.raises(UncountableError, match="only the batch axis may have any length"):
        flops_per_inference(model)


def test_the_floor_is_the_time_of_the_products_at_peak() -> None:
    check = roofline_check(p50_us=100.0, flops_per_row=1_000_000, peak_gflops=50.0, batch_size=2)
    assert (check.floor_us, check.gflops, check.peak_share) == (40.0, 20.0, 0.4)
    assert not check.faster_than_float32
    assert "possible in float32" in repr(check)


@pytest.mark.parametrize(("p50_us", "flagged"), [(100.0, False), (92.0, False), (90.0, True)])
def test_only_clearly_faster_than_the_peak_is_flagged(p50_us: float, flagged: bool) -> None:
    check = roofline_check(p50_us, flops_per_row=1_000_000, peak_gflops=10.0)
    assert check.faster_than_float32 is flagged
    assert ("FASTER THAN FLOAT32" in repr(check)) is flagged


@pytest.mark.parametrize("position", range(4))
def test_arguments_must_be_positive(position: int) -> None:
    arguments = [1.0, 1, 1.0, 1]
    arguments[position] = 0
    with pytest.raises(ValueError, match="expected a positive number, got 0"):
        roofline_check(*arguments)


def test_the_peak_is_measured() -> None:
    assert gemm_peak_gflops(threads=1, seconds=0.3) > 1.0  # any processor since about 2000
    with pytest.raises(ValueError, match="threads: expected a whole number from 1 on, got 0"):
        gemm_peak_gflops(threads=0)
    with pytest.raises(ValueError, match="seconds: expected a positive number"):
        gemm_peak_gflops(seconds=-1.0)
