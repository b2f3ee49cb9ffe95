"""Sizes of artifacts and of installations, and the flags that they raise."""

from __future__ import annotations

import importlib
import zipfile
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from conftest import ArtifactOf
from helpers.artifacts import ArtifactError
from helpers.size import artifact_size, install_footprint
from helpers.size.contents import StoredTensor, without_copies
from tiny_onnx import write_dense

MODEL_BYTES = 4 * 21_386


def flag_starts(path: Path, parameter_bytes: int | None = None) -> list[str]:
    return [flag.split(":")[0] for flag in artifact_size(path, parameter_bytes).flags]


@pytest.mark.parametrize(
    ("route", "overhead_bytes"),
    # The graph of a SavedModel holds the state of the dropout's random seed, that of an ONNX
    # file a few shapes.
    [("keras", 0), ("h5", 0), ("tf_save", 16), ("export", 16), ("onnx", 200), ("tf2onnx", 200)],
)
def test_parameters_are_found_whatever_the_format(
    artifact: ArtifactOf, route: str, overhead_bytes: int
) -> None:
    size = artifact_size(artifact("digits_cnn", route))
    assert MODEL_BYTES <= size.parameter_bytes <= MODEL_BYTES + overhead_bytes
    assert size.total_bytes > size.parameter_bytes


def test_total_is_what_lies_on_disk(artifact: ArtifactOf) -> None:
    folder = artifact("digits_cnn", "export")
    size = artifact_size(folder)
    files = [entry for entry in folder.rglob("*") if entry.is_file()]
    assert size.total_bytes == sum(entry.stat().st_size for entry in files)
    assert set(size.to_frame()["name"]) == {str(entry.relative_to(folder)) for entry in files}
    file = artifact("digits_cnn", "keras")
    assert artifact_size(file).total_bytes == file.stat().st_size


@pytest.mark.parametrize("family", ["digits_cnn", "residual", "lstm", "attention", "two_branch"])
def test_exported_weights_are_stored_twice_and_saved_ones_once(
    artifact: ArtifactOf, family: str
) -> None:
    exported = artifact_size(artifact(family, "export"))
    assert exported.weight_bytes >= 1.95 * exported.parameter_bytes
    assert "Weights stored twice" in flag_starts(artifact(family, "export"))
    saved = artifact_size(artifact(family, "tf_save"))
    assert saved.weight_bytes == saved.parameter_bytes
    assert "Weights stored twice" not in flag_starts(artifact(family, "tf_save"))


@pytest.mark.parametrize("route", ["keras", "h5", "tf_save"])
def test_optimizer_state_is_told_apart_from_parameters(artifact: ArtifactOf, route: str) -> None:
    size = artifact_size(artifact("digits_cnn", route))
    assert size.optimizer_bytes == 2 * MODEL_BYTES + 12  # two moments, a step and a rate
    assert flag_starts(artifact("digits_cnn", route)) == ["Optimizer state inside"]


@pytest.mark.parametrize("route", ["onnx", "archive"])
def test_an_artifact_for_inference_only_has_no_optimizer_state(
    artifact: ArtifactOf, route: str
) -> None:
    assert artifact_size(artifact("digits_cnn", route)).optimizer_bytes == 0


def test_a_shared_layer_counts_once(tmp_path: Path) -> None:
    shared = keras.layers.Dense(8, use_bias=False, name="shared")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, shared(shared(inputs)))
    model.save(tmp_path / "shared.keras")
    assert artifact_size(tmp_path / "shared.keras").parameter_bytes == 4 * 8 * 8


def test_without_external_data_the_file_is_smaller_than_its_parameters(tmp_path: Path) -> None:
    model = onnx.load(write_dense(tmp_path / "inline.onnx", width=64))
    onnx.save(
        model,
        tmp_path / "external.onnx",
        save_as_external_data=True,
        location="external.data",
        size_threshold=0,
    )
    whole = artifact_size(tmp_path / "external.onnx")
    assert whole.parameter_bytes == 4 * 64 * 64
    assert [file.name for file in whole.files] == ["external.onnx", "external.data"]
    assert whole.flags == ()
    (tmp_path / "external.data").unlink()
    assert flag_starts(tmp_path / "external.onnx") == ["Smaller than its parameters"]


def test_an_artifact_is_compared_with_its_source(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "model.onnx", width=64)
    assert flag_starts(path, 4 * 64 * 64) == []
    assert flag_starts(path, 16 * 64 * 64) == ["Too small for its source"]
    assert flag_starts(path, 2 * 64 * 64) == ["Weights stored twice"]


@pytest.mark.parametrize("given", [0, -4])
def test_parameter_bytes_must_be_positive(tmp_path: Path, given: int) -> None:
    with pytest.raises(ValueError, match=f"parameter_bytes: expected a positive .* got {given}"):
        artifact_size(write_dense(tmp_path / "model.onnx"), given)


def test_damaged_weights_are_one_clear_error(tmp_path: Path, artifact: ArtifactOf) -> None:
    path = tmp_path / "damaged.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ArtifactError, match=r"damaged\.keras: its weights cannot be read"):
        artifact_size(path)
    folder = tmp_path / "damaged"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12")
    with pytest.raises(ArtifactError, match="damaged: its variables cannot be read"):
        artifact_size(folder)
    (tmp_path / "cut.onnx").write_bytes(artifact("digits_cnn", "onnx").read_bytes()[:-500])
    with pytest.raises(ArtifactError, match=r"cut\.onnx: .* cut off"):
        artifact_size(tmp_path / "cut.onnx")


def group(*names: str, varied: bool = True) -> Counter[StoredTensor]:
    return Counter(StoredTensor(name, 4, varied) for name in names)


def test_a_copy_is_a_group_whose_every_tensor_is_elsewhere() -> None:
    original, copy = group("a", "b", "seed"), group("a", "b")
    assert without_copies([copy, original]) == [original]
    assert without_copies([original, Counter(original)]) == [original]
    assert len(without_copies([group("a", "b"), group("b", "c")])) == 2
    assert len(without_copies([group("a", "a"), group("a", "b")])) == 2


def test_equal_new_biases_are_no_copies() -> None:
    zeros = group("zeros", varied=False)
    assert len(without_copies([zeros, group("zeros", "kernel"), Counter(zeros)])) == 3


def test_readable_sizes(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "model.onnx", width=16)
    text = repr(artifact_size(path))
    assert (
        text == f"model.onnx: {path.stat().st_size / 1024:.1f} KiB on disk, 1.0 KiB of parameters"
    )


def make_distribution(folder: Path, name: str, requires: list[str], content: bytes = b"") -> None:
    (folder / f"{name}.py").write_bytes(content)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n\n")
    (info / "RECORD").write_text(f"{name}.py,,\n{name}-gone.py,,\n")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_distribution(
        tmp_path,
        "alpha",
        [
            "beta[extra]>=1",
            "delta; sys_platform == 'nowhere'",
            "epsilon; extra == 'more'",
            "absent-one",
        ],
        b"x" * 2**20,
    )
    make_distribution(tmp_path, "beta", ["alpha", "gamma; extra == 'extra'"], b"x" * 2**19)
    for name in ("gamma", "delta", "epsilon"):
        make_distribution(tmp_path, name, [], b"x" * 2**18)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def test_requirements_are_followed_as_markers_and_extras_say(shelf: Path) -> None:
    footprint = install_footprint("alpha")
    assert [(each.name, each.size_mib) for each in footprint.distributions] == [
        ("alpha", 1.0),
        ("beta", 0.5),
        ("gamma", 0.25),
    ]
    assert footprint.total_mib == 1.75
    assert footprint.missing == ("absent-one",)
    assert "not installed: absent-one" in repr(footprint)


def test_what_several_need_counts_once(shelf: Path) -> None:
    assert install_footprint("alpha", "beta", "delta").total_mib == 2.0


def test_the_runtimes_are_in_their_footprints() -> None:
    runtime = install_footprint("onnxruntime")
    assert {"onnxruntime", "numpy"} <= {each.name for each in runtime.distributions}
    assert not any("tensorflow" in each.name for each in runtime.distributions)
    tensorflow = install_footprint("tensorflow")  # provided by tensorflow-cpu on some machines
    assert tensorflow.distributions[0].name.startswith("tensorflow")
    assert {"keras", "numpy"} <= {each.name for each in tensorflow.distributions}
    assert tensorflow.total_mib > 3 * runtime.total_mib
    assert np.isclose(tensorflow.to_frame()["size_mib"].sum(), tensorflow.total_mib)


def test_unknown_runtimes_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'no-such-runtime'"):
        install_footprint("no-such-runtime")
    with pytest.raises(ValueError, match="expected at least one name"):
        install_footprint()
