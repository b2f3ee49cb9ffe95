"""The scorecard: one row for each artifact, right or wrong, with notes on what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pandas as pd
import pytest
import tensorflow as tf

from conftest import ROOT
from families import build_residual
from helpers.costs.candidate import Candidate
from helpers.costs.opened import OpenedArtifact
from helpers.formats import artifact_size
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import InputError
from helpers.lessons.digits import Digits
from helpers.lessons.models import build_digits_cnn, build_lstm
from helpers.scorecard import Scorecard, best_rows, read_traits, scorecard
from helpers.scorecard.__main__ import _read_inputs
from helpers.scorecard.build import Interrupted
from helpers.scorecard.figure import plot_scorecard
from tiny_onnx import write_dense

QUICK = {"budget_s": 0.5, "cold_starts": 1, "batch_sizes": (1, 4), "progress": False}
TRAITS = ["needs_tensorflow", "needs_your_code", "resumes_training"]


@pytest.fixture(scope="module")
def folder(digits_cnn: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with a sound file, a wrong file and a file that cannot be opened."""
    folder = tmp_path_factory.mktemp("scorecard")
    digits_cnn.save(folder / "model.keras")
    digits_cnn.export(folder / "model.onnx", format="onnx", verbose=False)
    build_digits_cnn(seed=9).save(folder / "other.keras")
    (folder / "cut.onnx").write_bytes((folder / "model.onnx").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def card(digits_cnn: keras.Model, digits: Digits, folder: Path) -> Scorecard:
    """A scorecard of three artifacts: sound, sound in another runtime, wrong."""
    artifacts = {
        "keras": folder / "model.keras",
        "onnx": Candidate(folder / "model.onnx", threads=1),
        "other weights": folder / "other.keras",
    }
    return scorecard(digits_cnn, artifacts, digits.test_images, **QUICK)


def test_every_artifact_has_a_full_row(card: Scorecard) -> None:
    assert card.latency.startup_s > 0
    assert list(card.table.index) == ["keras", "onnx", "other weights"]
    measured = card.table[["size_kib", "cold_start_ms", "p50_us_1", "p50_us_4", "rows_per_s"]]
    assert (measured.astype(float) > 0).all(axis=None)


def test_verdicts_tell_right_from_wrong(card: Scorecard) -> None:
    assert list(card.table["parity"]) == ["passed", "passed", "FAILED"]
    assert card.table.loc["keras", "max_abs"] == 0
    assert card.table.loc["onnx", "error_ratio"] < 2
    assert any(note.startswith("other weights, ") for note in card.notes)


def test_notes_of_the_measurement_reach_the_scorecard(
    digits_cnn: keras.Model, digits: Digits, folder: Path
) -> None:
    few = {**QUICK, "batch_sizes": (4,)}
    card = scorecard(digits_cnn, {"it": folder / "model.onnx"}, digits.test_images[:2], **few)
    assert card.latency.notes
    assert set(card.latency.notes) <= set(card.notes)
    assert "repeated to fill larger batches" in repr(card)


def test_costs_point_the_known_way(card: Scorecard) -> None:
    """ONNX Runtime starts faster, needs less memory and answers faster: by far, not by a hair."""
    keras_row, onnx_row = card.table.loc["keras"], card.table.loc["onnx"]
    # One cold start each, which a busy moment can make several times as long; 25 times is usual.
    assert keras_row["cold_start_ms"] > onnx_row["cold_start_ms"]
    quietest = {name: card.latency.result(name, 1).quietest_p50_us for name in ("keras", "onnx")}
    assert quietest["keras"] > 3 * quietest["onnx"]  # 20 times is usual
    if sys.platform == "linux":
        assert keras_row["peak_rss_mib"] > 3 * onnx_row["peak_rss_mib"]


def test_traits_in_the_table(card: Scorecard) -> None:
    assert list(card.table.loc["keras", TRAITS]) == [True, False, True]
    assert list(card.table.loc["onnx", TRAITS]) == [False, False, False]
    assert list(card.table.loc["other weights", TRAITS]) == [True, False, False]


def test_table_reads_well(card: Scorecard) -> None:
    assert "Note: other weights" in repr(card)
    assert "needs_tensorflow" in card._repr_html_()
    assert len(plot_scorecard(card).axes) == 5


def test_a_reference_file_is_compared_as_its_model_is(
    card: Scorecard, digits: Digits, folder: Path
) -> None:
    artifacts = {
        "itself": folder / "model.keras",
        "onnx": folder / "model.onnx",
        "other weights": folder / "other.keras",
    }
    options = {**QUICK, "warm_up": False}
    from_file = scorecard(folder / "model.keras", artifacts, digits.test_images, **options)
    for name in ("onnx", "other weights"):
        for column in ("parity", "max_abs", "error_ratio"):
            assert from_file.table.loc[name, column] == card.table.loc[name, column]
    assert from_file.table.loc["itself", "parity"] == "reference"
    assert from_file.cold_starts.result("onnx").page_cache == "unknown"


def test_each_artifact_is_opened_once_for_each_cold_start(
    folder: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that answers, is timed and is weighed is the last of the cold starts."""
    asked: list[tuple[str, int, str]] = []
    ask = OpenedArtifact.ask

    def listen(artifact: OpenedArtifact, request: Any, **options: Any) -> Any:
        asked.append((artifact.request.kind, artifact.process_id, type(request).__name__))
        return ask(artifact, request, **options)

    monkeypatch.setattr(OpenedArtifact, "ask", listen)
    options = {**QUICK, "cold_starts": 2, "warm_up": False}
    one = {"onnx": folder / "model.onnx"}
    card = scorecard(folder / "model.keras", one, digits.test_images, **options)
    onnx = [(process, request) for kind, process, request in asked if kind == "onnx"]
    processes = list(dict.fromkeys(process for process, _ in onnx))
    assert len(processes) == 2
    assert [request for process, request in onnx if process == processes[0]] == ["Answer"]
    last = list(dict.fromkeys(request for process, request in onnx if process == processes[1]))
    assert last == ["Answer", "WarmUp", "Visit", "Weigh"]
    assert len(card.cold_starts.result("onnx").runs) == 2
    reference = {process for kind, process, _ in asked if kind == "keras"}
    assert len(reference) == 1


def test_nothing_is_opened_in_the_process_of_the_caller(folder: Path) -> None:
    code = (
        "import sys\n"
        "from helpers.scorecard import scorecard\n"
        "card = scorecard('model.keras', {'it': 'model.keras'}, budget_s=0.3, cold_starts=1,\n"
        "                 warm_up=False, batch_sizes=(1,))\n"
        "print(card.table.loc['it', 'parity'])\n"
        "print({'keras', 'tensorflow', 'h5py', 'onnxruntime', 'onnx'} & set(sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == ["reference", "set()"], result.stderr


def test_a_few_at_once(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "dense.onnx")
    artifacts = dict.fromkeys(("a", "b", "c"), path)
    inputs = np.random.default_rng(0).random((4, 4), dtype=np.float32)
    card = scorecard(path, artifacts, inputs, at_once=2, **QUICK)
    assert list(card.table.index) == ["a", "b", "c"]
    assert card.table["p50_us_4"].astype(float).gt(0).all()
    assert "measured in 2 parts, one after the other" in card.notes
    assert card.latency.budget_s == pytest.approx(QUICK["budget_s"])
    together = scorecard(path, artifacts, inputs, **QUICK)
    assert not any("parts" in note for note in together.notes)
    with pytest.raises(ValueError, match="at_once: expected a whole number from 1 on, got -1"):
        scorecard(path, artifacts, inputs, at_once=-1, **QUICK)


def test_a_damaged_artifact_keeps_its_row_and_the_others_their_results(
    digits_cnn: keras.Model, digits: Digits, folder: Path, tmp_path: Path
) -> None:
    """Cut off, not a model at all, a crash and another signature: four rows, and a good one."""
    (tmp_path / "sabotage.py").write_text("import os; os._exit(3)")
    (tmp_path / "empty.keras").write_bytes(b"")
    two = keras.Sequential([keras.Input((8, 8, 2), name="two"), keras.layers.Flatten()])
    two.save(tmp_path / "two.keras")
    sys.path.append(str(tmp_path))
    try:
        artifacts = {
            "cut": folder / "cut.onnx",
            "empty": tmp_path / "empty.keras",
            "crash": Candidate(folder / "model.onnx", imports=("sabotage",)),
            "other": tmp_path / "two.keras",
            "good": folder / "model.onnx",
        }
        card = scorecard(digits_cnn, artifacts, digits.test_images, **QUICK)
    finally:
        sys.path.remove(str(tmp_path))
    assert list(card.table["parity"]) == ["FAILED"] * 4 + ["passed"]
    assert card.table.loc["good", "p50_us_1"] > 0
    notes = "\n".join(card.notes)
    assert "cut cannot be opened: " in notes
    assert "empty cannot be opened: " in notes
    assert "the file is empty" in notes
    assert "crash cannot be opened: it crashed with exit code 3" in notes
    assert "other, output" in notes or "other takes other inputs" in notes


def test_ctrl_c_keeps_what_was_measured(
    digits_cnn: keras.Model, digits: Digits, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OpenedArtifact, "visit", interrupt)
    artifacts = {"onnx": folder / "model.onnx", "later": folder / "model.onnx"}
    with pytest.raises(Interrupted) as caught:
        scorecard(digits_cnn, artifacts, digits.test_images, at_once=1, **QUICK)
    assert pd.isna(caught.value.card.table.loc["later", "parity"])  # not judged is not FAILED
    assert caught.value.card.table.loc["onnx", "parity"] == "passed"
    assert caught.value.card.table.loc["onnx", "cold_start_ms"] > 0
    assert "interrupted: the rest is missing" in caught.value.card.notes


def test_a_candidate_that_needs_a_module_says_so(
    digits: Digits, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of a file with custom code stays, with the reason in the notes."""
    (tmp_path / "card_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable(package='card')\n"
        "class Same(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x\n"
    )
    code = (
        "import keras, card_layers\n"
        "m = keras.saving.load_model('model.keras', compile=False)\n"
        "m.add(card_layers.Same())\nm.save('custom.keras')\n"
    )
    (folder / "card_layers.py").write_text((tmp_path / "card_layers.py").read_text())
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    (folder / "card_layers.py").unlink()
    reference = folder / "model.keras"
    artifacts = {"plain": folder / "model.onnx", "custom": folder / "custom.keras"}

    without = scorecard(reference, artifacts, digits.test_images, **QUICK)
    assert without.table.loc["custom", "parity"] == "FAILED"
    assert without.table.loc["custom", "needs_your_code"]
    assert any("custom cannot be opened" in note for note in without.notes)

    monkeypatch.syspath_prepend(str(tmp_path))
    artifacts["custom"] = Candidate(folder / "custom.keras", imports=("card_layers",))
    with_module = scorecard(reference, artifacts, digits.test_images, **QUICK)
    assert with_module.table.loc["custom", "parity"] == "passed"


def test_bad_input_is_refused(digits_cnn: keras.Model, digits: Digits, folder: Path) -> None:
    good = {"model": folder / "model.keras"}
    with pytest.raises(ValueError, match="artifacts: expected at least one"):
        scorecard(digits_cnn, {}, digits.test_images, **QUICK)
    with pytest.raises(ValueError, match="budget_s: expected a positive"):
        scorecard(digits_cnn, good, digits.test_images, **{**QUICK, "budget_s": 0})
    with pytest.raises(ArtifactError, match="there is no such file"):
        scorecard(digits_cnn, {"gone": folder / "gone.onnx"}, digits.test_images, **QUICK)
    with pytest.raises(InputError, match="expected dtype float32, got float64"):
        scorecard(digits_cnn, good, digits.test_images.astype(np.float64), **QUICK)


def test_traits_of_each_kind(digits_cnn: keras.Model, digits: Digits, tmp_path: Path) -> None:
    """Without its settings an optimizer does not resume: an .h5 save loses them (Keras 3.15)."""
    model = build_lstm()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.train_on_batch(digits.train_images[:8], digits.train_labels[:8])
    model.save(tmp_path / "first.keras")
    model.save(tmp_path / "model.h5")
    model.save(tmp_path / "after_h5.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)]).save(
        tmp_path / "lambda.keras"
    )
    resumes = {name: read_traits(tmp_path / name).resumes_training
               for name in ("first.keras", "model.h5", "after_h5.keras")}  # fmt: skip
    assert resumes == {"first.keras": True, "model.h5": False, "after_h5.keras": False}
    weighed = artifact_size(tmp_path / "first.keras")
    assert read_traits(tmp_path / "first.keras", weighed).resumes_training
    nothing = replace(weighed, optimizer_bytes=0)  # what is known is not measured again
    assert not read_traits(tmp_path / "first.keras", nothing).resumes_training
    build_residual().save(tmp_path / "functional.keras")
    assert not read_traits(tmp_path / "functional.keras").needs_your_code
    assert read_traits(tmp_path / "lambda.keras").needs_your_code
    assert not read_traits(tmp_path / "model.h5").needs_your_code


def run_command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as an engineer would."""
    command = [sys.executable, "-m", "helpers.scorecard", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_command_line_with_json_and_plot(folder: Path) -> None:
    result = run_command("model.keras", "model.onnx", "--budget", "0.5", "--json",
                         "--plot", "card.png", "--batch-sizes", "1", "8", cwd=folder)  # fmt: skip
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert {name: row["parity"] for name, row in answer["artifacts"].items()} == {
        "model.keras": "reference",
        "model.onnx": "passed",
    }
    assert any("random" in note for note in answer["notes"])
    assert (folder / "card.png").read_bytes().startswith(b"\x89PNG")
    assert "oneDNN" not in result.stderr


def test_command_line_refuses_bad_input_in_one_line(folder: Path) -> None:
    for arguments, part in (
        (["gone.keras"], "there is no such file"),
        (["model.onnx", "--inputs", "gone.npz"], "--inputs: there is no file"),
        (["model.onnx", "--budget", "0"], "budget_s: expected a positive"),
        (["model.onnx", "--import", "no_such_module"], "no_such_module"),
    ):
        result = run_command(*arguments, cwd=folder)
        assert result.returncode == 2
        assert part in result.stderr
        assert "Traceback" not in result.stderr


def test_command_line_on_onnx_needs_no_tensorflow(folder: Path) -> None:
    """ONNX files alone are compared where TensorFlow and Keras cannot be imported."""
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('tensorflow', 'keras'):\n"
        "            raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from helpers.scorecard.__main__ import main\n"
        "sys.exit(main(['model.onnx', '--budget', '0.3', '--batch-sizes', '1']))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "reference" in result.stdout


def test_best_rows_and_ties() -> None:
    table = pd.DataFrame(
        {"size_kib": [100.0, 109.0, 112.0], "rows_per_s": [50.0, 100.0, 92.0]}, index=list("abc")
    )
    assert best_rows(table, "size_kib") == ["a", "b"]
    assert best_rows(table, "rows_per_s") == ["b", "c"]
    with pytest.raises(KeyError):
        best_rows(table, "beauty")


def test_damaged_inputs_are_refused_in_one_line(tmp_path: Path) -> None:
    """Whatever is cut off or changed in the file, NumPy's own errors are not the reader's."""
    good = tmp_path / "good.npz"
    rows = np.arange(64, dtype=np.float32).reshape(4, 16)
    np.savez_compressed(good, x=rows, y=rows)
    content, dice = good.read_bytes(), np.random.default_rng(0)
    damaged = tmp_path / "damaged.npz"
    refused = 0
    for _ in range(300):
        changed = bytearray(content[: int(dice.integers(1, len(content) + 1))])
        for place in dice.integers(0, len(changed), 3):
            changed[place] ^= 1 << int(dice.integers(8))
        damaged.write_bytes(changed)
        try:
            _read_inputs(damaged)
        except ValueError as error:
            refused += str(error).startswith(f"--inputs: {damaged} cannot be read as arrays (")
    assert refused > 250
    np.save(tmp_path / "one.npy", rows)
    assert np.array_equal(_read_inputs(tmp_path / "one.npy"), rows)
    np.save(tmp_path / "text.npy", np.array(["a", 1], dtype=object))
    with pytest.raises(ValueError, match="Arrays of text must have a dtype of text"):
        _read_inputs(tmp_path / "text.npy")


def test_command_line_with_a_signature(folder: Path, digits_cnn: keras.Model) -> None:
    """The remedy of a folder without 'serving_default' can be followed in a terminal too."""
    digits_cnn.export(folder / "exported", verbose=False)
    loaded = tf.saved_model.load(folder / "exported")
    signatures = {"answer": loaded.signatures["serving_default"]}
    tf.saved_model.save(loaded, str(folder / "named"), signatures=signatures)
    options = ("--budget", "0.3", "--batch-sizes", "1")
    refused = run_command("model.keras", "named", *options, cwd=folder)
    assert refused.returncode == 1
    assert "Name one of them with signature=..., or --signature in a terminal" in refused.stdout
    followed = run_command("model.keras", "named", "--signature", "answer", *options, cwd=folder)
    assert followed.returncode == 0, followed.stdout + followed.stderr


def test_weights_beside_a_link_are_found(folder: Path, tmp_path: Path) -> None:
    """A download cache keeps files under other names, and links to them."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    model = onnx.load(folder / "model.onnx")
    place = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 256}
    onnx.save_model(model, blobs / "model.onnx", **place)
    (blobs / "model.onnx").rename(blobs / "a1b2")
    (blobs / "model.onnx.data").rename(blobs / "c3d4")
    (snapshot / "model.onnx").symlink_to(blobs / "a1b2")
    (snapshot / "model.onnx.data").symlink_to(blobs / "c3d4")
    inputs = np.random.default_rng(0).random((8, 8, 8, 1), dtype=np.float32)
    artifacts = {"linked": snapshot / "model.onnx", "plain": folder / "model.onnx"}
    card = scorecard(folder / "model.keras", artifacts, inputs, **QUICK)
    assert not any(note.startswith("linked cannot be") for note in card.notes), card.notes
    assert card.table.loc["linked", "max_abs"] == card.table.loc["plain", "max_abs"]
    assert card.table["p50_us_1"].notna().all()
    as_reference = scorecard(snapshot / "model.onnx", artifacts, inputs, **QUICK)
    assert list(as_reference.table["parity"]) == ["reference", "unproved"]
    assert any("whether a fault shows was not tried" in note for note in as_reference.notes)


def test_a_scorecard_of_nothing_but_failures_can_be_read(folder: Path) -> None:
    options = ("--reference", "model.keras", "--budget", "0.3")
    result = run_command("cut.onnx", *options, cwd=folder)
    assert result.returncode == 1
    assert "FAILED" in result.stdout
    assert "Note: cut.onnx cannot be opened: " in result.stdout
    card = scorecard(folder / "model.keras", {"cut": folder / "cut.onnx"}, **QUICK)
    assert card.latency.to_frame().empty
    assert "Measured for" in repr(card.latency)


class Sampling(keras.layers.Layer):
    """Adds noise at inference too, as the middle of a variational autoencoder does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


def test_a_reference_that_is_random_proves_nothing(tmp_path: Path) -> None:
    entry = keras.Input((4,), name="entry")
    model = keras.Model(entry, Sampling()(keras.layers.Dense(3)(entry)))
    model.export(tmp_path / "noisy", verbose=False)
    rows = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    for reference in (model, tmp_path / "noisy"):
        card = scorecard(reference, {"it": tmp_path / "noisy"}, rows, **QUICK)
        assert card.table.loc["it", "parity"] == "unproved"
        assert any("other answers when it is asked twice" in note for note in card.notes)
