"""The faults that `bench_parity` plants: what goes wrong between training and production."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from parity_faults.around import (
    augmentation_left_on,
    before,
    behind,
    fixed_batch,
    other_channel_order,
    previous_answer,
    swap_outputs,
    unscaled,
    wrong_second_input,
)
from parity_faults.case import Case, Fault
from parity_faults.in_layers import other_pool, rebuilt, setting, shift_padding, training_mode
from parity_faults.in_weights import (
    each,
    int8_rounded,
    normalization_off,
    spoil,
    stale,
    swap_gates,
    swap_two_classes,
    transpose_kernel,
    weights,
    zero_one_weight,
)

__all__ = ["FAULTS", "Case", "Fault"]

FAULTS: dict[str, Fault] = {
    "first kernel: one weight zeroed": zero_one_weight(0.0),
    "middle kernel: one weight zeroed": zero_one_weight(0.5),
    "last kernel: one weight zeroed": zero_one_weight(1.0),
    "kernel transposed": weights(transpose_kernel),
    "two classes swapped": weights(swap_two_classes),
    "NaN in a weight": spoil(np.nan),
    "infinity in a weight": spoil(np.inf),
    "weights in float16": each("", lambda w: w.astype(np.float16)),
    "weights in bfloat16": each("", lambda w: w.astype(ml_dtypes.bfloat16)),
    "weights rounded to int8": each("kernel", int8_rounded),
    "weights of an earlier epoch": stale,
    "biases lost": each("bias", np.zeros_like),
    "one bias shifted by 1e-4": each(
        "bias", lambda b: b + 1e-4 * (np.arange(b.size) == 0).reshape(b.shape), 1
    ),
    "batch norm off": weights(normalization_off),
    "batch norm: statistics lost": each("moving_variance", np.ones_like, 1),
    "batch norm: beta lost": each("beta", lambda b: b - 1e-3, 1),
    "batch norm: other epsilon": setting("epsilon", 1e-3, 1e-5, "BatchNormalization"),
    "layer norm: other epsilon": setting("epsilon", 1e-3, 1e-6, "LayerNormalization"),
    "LSTM gates in another order": weights(swap_gates),
    "LSTM: recurrent kernel lost": each("recurrent_kernel", np.zeros_like),
    "attention not scaled": each("attention/query", lambda w: w * np.sqrt(8)),
    "attention heads swapped in the query": each("query/kernel", lambda w: w[:, ::-1].copy()),
    "softmax dropped": setting("activation", "softmax", "linear"),
    "sigmoid for softmax": setting("activation", "softmax", "sigmoid"),
    "leaky relu for relu": setting("activation", "relu", "leaky_relu"),
    "other tanh": setting("activation", "tanh", "softsign"),
    "relu6 without its limit": setting("max_value", 6.0, None, "ReLU"),
    "padding off by one": rebuilt(shift_padding, "no padded convolution"),
    "wrong pooling": rebuilt(other_pool, "no pooling layer"),
    "input not scaled": before(unscaled),
    "rows and columns exchanged": before(lambda x: np.ascontiguousarray(x.swapaxes(1, 2))),
    "image shifted by one pixel": before(lambda x: np.roll(x, 1, axis=2)),
    "channels in another order": before(other_channel_order),
    "input rounded to float16": before(lambda x: (x / 3).astype(np.float16).astype(np.float32) * 3),
    "second input in another order": wrong_second_input,
    "dropout active": training_mode("Dropout"),
    "batch norm in training mode": training_mode("BatchNormalization"),
    "augmentation left on": augmentation_left_on,
    "fixed batch size": fixed_batch,
    "outputs exchanged": swap_outputs,
    "output in float64": behind(lambda y: y.astype(np.float64)),
    "output in float16": behind(lambda y: y.astype(np.float16)),
    "output rounded to 4 digits": behind(lambda y: y.round(4)),
    "output clipped": behind(lambda y: np.clip(y, y.min(), np.quantile(y, 0.99))),
    "labels off by one": behind(lambda y: np.roll(y, 1, axis=-1)),
    "a class lost": behind(lambda y: y[..., :-1]),
    "one axis more": behind(lambda y: y[:, np.newaxis]),
    "rows in another order": behind(lambda y: y[::-1]),
    "first row for all": behind(lambda y: np.repeat(y[:1], len(y), axis=0)),
    "answer of the call before": previous_answer,
}
