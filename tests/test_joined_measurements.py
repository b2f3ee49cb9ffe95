"""Measurements in parts, put together; and calls that are timed in this process."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pandas as pd
import pytest

from conftest import RunPython
from helpers.costs.calls import median_seconds
from helpers.costs.latency import measure_latency
from helpers.lessons.models import build_smooth_cnn, build_word_model
from helpers.scorecard import best_rows, scorecard
from helpers.scorecard.join import join_latency
from tiny_onnx import write_dense

INPUTS = np.ones((4, 4), np.float32)
QUICK = {"budget_s": 0.2, "batch_sizes": (1, 4), "progress": False}


def test_calls_take_turns_and_the_slow_one_is_known() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.005)

    seconds = median_seconds({"slow": slow, "fast": lambda: order.append("fast")}, rounds=5)
    assert order == ["slow", "fast"] * 7  # two rounds of warm-up
    assert seconds["slow"] > 0.004
    assert seconds["slow"] > 5 * seconds["fast"]


@pytest.mark.parametrize(("calls", "rounds"), [({}, 3), ({"a": int}, 0)])
def test_nothing_to_time_is_refused(calls: dict, rounds: int) -> None:
    with pytest.raises(ValueError, match="expected calls and rounds"):
        median_seconds(calls, rounds)


def test_latency_in_parts_keeps_every_candidate(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "dense.onnx")
    first = measure_latency({"a": path}, INPUTS, **QUICK)
    second = measure_latency({"b": path, "none": tmp_path / "x"}, INPUTS, **QUICK)
    joined = join_latency(first, second)
    assert list(joined.to_frame()["candidate"].unique()) == ["a", "b"]
    assert joined.result("a", 4) == first.result("a", 4)
    assert joined.result("b", 4) == second.result("b", 4)
    assert [failure.candidate for failure in joined.failures] == ["none"]
    assert joined.measured_s == first.measured_s + second.measured_s
    assert joined.notes[-1] == "measured in 2 parts, one after the other"


def test_a_single_report_stays_as_it_is(tmp_path: Path) -> None:
    report = measure_latency({"a": write_dense(tmp_path / "dense.onnx")}, INPUTS, **QUICK)
    assert join_latency(report) is report


def test_a_scorecard_in_groups(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "dense.onnx")
    artifacts = dict.fromkeys(("a", "b", "c"), path)
    options = {**QUICK, "cold_starts": 1}
    card = scorecard(path, artifacts, INPUTS, groups=[["a", "c"], ["b"]], **options)
    assert list(card.table.index) == ["a", "b", "c"]
    assert card.table["p50_us_4"].astype(float).gt(0).all()
    assert "measured in 2 parts, one after the other" in card.notes
    assert card.latency.budget_s == pytest.approx(QUICK["budget_s"])
    together = scorecard(path, artifacts, INPUTS, **options)
    assert not any("parts" in note for note in together.notes)


@pytest.mark.parametrize("groups", [[], [["a"]], [["a", "b"], ["b"]], [["a", "b", "c"]]])
def test_groups_that_do_not_hold_each_artifact_once_are_refused(
    groups: list[list[str]], tmp_path: Path
) -> None:
    artifacts = dict.fromkeys(("a", "b"), write_dense(tmp_path / "dense.onnx"))
    with pytest.raises(ValueError, match=r"groups: expected each of \['a', 'b'\] in one group"):
        scorecard(artifacts["a"], artifacts, INPUTS, groups=groups, **QUICK)


def test_best_rows_and_ties() -> None:
    table = pd.DataFrame(
        {"size_kib": [100.0, 109.0, 112.0], "rows_per_s": [50.0, 100.0, 92.0]}, index=list("abc")
    )
    assert best_rows(table, "size_kib") == ["a", "b"]
    assert best_rows(table, "rows_per_s") == ["b", "c"]
    with pytest.raises(KeyError):
        best_rows(table, "beauty")


CONVERT = """
import keras, sys, tensorflow as tf, tf2onnx
from helpers.lessons.models import build_smooth_cnn
from helpers.lessons.setup import warnings_to_stdout
warnings_to_stdout()
image = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
smooth = build_smooth_cnn()
tf2onnx.convert.from_function(tf.function(lambda x: smooth(x)), [image], output_path=sys.argv[1])
"""


def test_the_errors_of_tf2onnx_are_printed_on_one_line(
    run_python: RunPython, tmp_path: Path
) -> None:
    """Lesson 3 shows a conversion that only logs its failure."""
    result = run_python(CONVERT, tmp_path / "smooth.onnx")
    assert "Error: Unsupported ops: Counter({'Erfc': 1})" in result.stdout.splitlines()
    assert "Erfc" not in result.stderr
    with pytest.raises(Exception, match="No Op registered for Erfc"):
        onnxruntime.InferenceSession(tmp_path / "smooth.onnx")


def test_the_models_of_lesson_3() -> None:
    assert build_smooth_cnn("relu").output_shape == (None, 10)
    words = build_word_model(["no", "yes"])
    answers = keras.ops.convert_to_numpy(words(keras.ops.convert_to_tensor(["no", "a", "b"])))
    assert np.array_equal(answers[1], answers[2])  # both unknown
    assert not np.array_equal(answers[0], answers[1])
