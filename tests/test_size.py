"""Sizes of artifacts and of installations, and the flags that they raise."""

from __future__ import annotations

import importlib
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from conftest import ArtifactOf
from helpers.costs.install import DistributionSize, InstallFootprint, install_footprint
from helpers.formats import ArtifactError, ArtifactSize, artifact_size, load_onnx
from helpers.formats.saved_model import StoredTensor, without_copies
from routes import write_artifact
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
    listed = {str(entry.relative_to(folder)): entry.stat().st_size for entry in files}
    assert dict(size.to_frame().itertuples(index=False)) == listed
    assert list(size.to_frame().columns) == ["name", "size_bytes"]


@pytest.mark.parametrize("route", ["keras", "h5", "onnx"])
def test_a_file_is_listed_with_what_it_consists_of(route: str, artifact: ArtifactOf) -> None:
    path = artifact("digits_cnn", route)
    size = artifact_size(path)
    assert (size.kind, size.path) == (route, path)
    assert size.total_bytes == path.stat().st_size
    expected = {path.name: path.stat().st_size}
    if route == "keras":
        with zipfile.ZipFile(path) as archive:
            expected = {item.filename: item.compress_size for item in archive.infolist()}
    assert {file.name: file.size_bytes for file in size.files} == expected


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


@pytest.mark.parametrize("route", ["keras", "h5", "tf_save"])  # ONNX drops biases of zero
def test_new_biases_that_are_equal_count_each(route: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)])
    path = write_artifact(model, route, tmp_path / "equal")
    assert artifact_size(path).parameter_bytes == 4 * 2 * (4 * 4 + 4)


class Part(tf.Module):
    """Holds one variable."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self.variable = tf.Variable(values)


@pytest.mark.parametrize(
    ("first", "second", "copies"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.0], [1.0, 3.0], False),
        ([1.0, 2.0], [[1.0, 2.0]], False),
        ([0.0, 0.0], [0.0, 0.0], False),  # two new biases
        (["red", "blue"], ["red", "blue"], True),
        (["red", "blue"], ["red", "green"], False),
    ],
)
def test_a_variable_is_a_copy_when_dtype_shape_and_values_agree(
    first: list[Any], second: list[Any], copies: bool, tmp_path: Path
) -> None:
    module = tf.Module()
    module.one, module.two = Part(first), Part(second)
    tf.saved_model.save(module, str(tmp_path))
    size = artifact_size(tmp_path)
    assert size.weight_bytes > 0
    assert size.parameter_bytes == size.weight_bytes / (2 if copies else 1)


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


def write_external(path: Path, location: str) -> Path:
    """Write an ONNX file that names another file for its 64 bytes of weights."""
    model = onnx.load(write_dense(path, width=4))
    (kernel,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(kernel, location)
    kernel.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "{folder}/secret", "inside/../../secret", ".."])
def test_a_file_outside_the_folder_is_named_and_not_counted(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(1000))
    folder = tmp_path / "model"
    (folder / "inside").mkdir(parents=True)
    location = location.format(folder=tmp_path)
    path = write_external(folder / "model.onnx", location)
    size = artifact_size(path)
    assert [file.name for file in size.files] == ["model.onnx"]
    assert size.total_bytes == path.stat().st_size
    assert size.flags[0] == (
        f"Outside its folder: it names {location!r} for its weights, which is not counted. "
        "Runtimes refuse such a file."
    )
    with pytest.raises(ArtifactError):
        load_onnx(path)


def test_a_file_deeper_in_the_folder_is_counted(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "weights").write_bytes(bytes(64))
    for location in ("inside/weights", "inside/../inside/weights"):
        path = write_external(tmp_path / "model.onnx", location)
        size = artifact_size(path)
        assert size.total_bytes == path.stat().st_size + 64
        assert size.flags == ()


@pytest.mark.parametrize("suffix", [".json", ".onnxtxt", ".textproto", ""])
def test_the_suffix_of_an_onnx_file_changes_nothing(suffix: str, tmp_path: Path) -> None:
    path = write_dense(tmp_path / "model.onnx")
    assert artifact_size(path.rename(tmp_path / f"model{suffix}")).parameter_bytes == 64


def test_an_artifact_is_compared_with_its_source(tmp_path: Path) -> None:
    path = write_dense(tmp_path / "model.onnx", width=64)
    assert flag_starts(path, 4 * 64 * 64) == []
    assert flag_starts(path, 16 * 64 * 64) == ["Too small for its source"]
    assert flag_starts(path, 2 * 64 * 64) == ["Weights stored twice"]


def test_flags_are_raised_from_their_limit_on(tmp_path: Path) -> None:
    assert flag_starts(write_dense(tmp_path / "a.onnx", width=60), 16_000) == []  # 90% of them
    assert flag_starts(write_dense(tmp_path / "b.onnx", width=60), 16_001) == [
        "Too small for its source"
    ]
    assert flag_starts(write_dense(tmp_path / "c.onnx", width=19), 760) == ["Weights stored twice"]
    assert flag_starts(write_dense(tmp_path / "d.onnx", width=19), 761) == []  # less than 1.9 times


def test_a_model_without_weights_raises_no_flag(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]).save(tmp_path / "empty.keras")
    size = artifact_size(tmp_path / "empty.keras")
    assert (size.weight_bytes, size.flags) == (0, ())


@pytest.mark.parametrize("given", [0, -4])
def test_parameter_bytes_must_be_positive(tmp_path: Path, given: int) -> None:
    message = (
        rf"parameter_bytes: expected a positive .* got {given}\. Leave it out to compare .*\.$"
    )
    with pytest.raises(ValueError, match=message):
        artifact_size(write_dense(tmp_path / "model.onnx"), given)
    artifact_size(write_dense(tmp_path / "model.onnx"), 1)


def test_constants_in_branches_and_functions_count(tmp_path: Path) -> None:
    def constant(name: str) -> onnx.NodeProto:
        value = numpy_helper.from_array(np.ones(5, np.float32), name)
        return helper.make_node("Constant", [], [name], value=value)

    def describe(name: str, kind: int = TensorProto.FLOAT, length: int = 5) -> Any:
        return helper.make_tensor_value_info(name, kind, [length] if length else [])

    branches = {
        f"{word}_branch": helper.make_graph([constant(word)], word, [], [describe(word)])
        for word in ("then", "else")
    }
    own = helper.make_opsetid("own", 1)
    standard = helper.make_opsetid("", 17)
    function = helper.make_function("own", "Five", [], ["five"], [constant("five")], [standard])
    graph = helper.make_graph(
        [
            helper.make_node("If", ["flag"], ["chosen"], **branches),
            helper.make_node("Five", [], ["called"], domain="own"),
            helper.make_node("Add", ["chosen", "called"], ["y"]),
        ],
        "constants",
        [describe("flag", TensorProto.BOOL, 0)],
        [describe("y")],
    )
    imports = [standard, own]
    model = helper.make_model(graph, functions=[function], opset_imports=imports, ir_version=8)
    onnx.save(model, tmp_path / "constants.onnx")
    assert artifact_size(tmp_path / "constants.onnx").parameter_bytes == 3 * 5 * 4


def refuse(path: Path, finding: str, remedy: str) -> None:
    """Weigh what is damaged; the whole message must fit."""
    with pytest.raises(ArtifactError, match=rf"^{re.escape(str(path))}: {finding}\. {remedy}$"):
        artifact_size(path)


def test_damaged_weights_are_one_clear_error(tmp_path: Path, artifact: ArtifactOf) -> None:
    path = tmp_path / "damaged.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
    save_again = r"Save or copy the model again, and compare the sizes\."
    refuse(path, r"its weights cannot be read \(.+\)", save_again)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(artifact("digits_cnn", "h5").read_bytes()[:5000])
    refuse(cut, r"its weights cannot be read \(.+\)", save_again)
    folder = tmp_path / "damaged"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12")
    refuse(
        folder,
        r"its variables cannot be read \([^\n]*damaged/variables/variables[^\n]*\)",
        r"A file of the folder is missing or damaged\. Copy or export the whole folder again\.",
    )
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(artifact("digits_cnn", "onnx").read_bytes()[:-500])
    refuse(
        cut,
        "it starts like an ONNX file but cannot be read to its end, so it was probably cut off",
        r"Convert or copy the model again, and compare the sizes\.",
    )


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


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1024.0 KiB"), (2**20, "1.0 MiB"),
     (5 * 2**19, "2.5 MiB"), (2**30, "1024.0 MiB")],
)  # fmt: skip
def test_sizes_are_written_in_kib_and_mib(count: int, text: str) -> None:
    size = ArtifactSize(Path("folder/model.h5"), "h5", count, count, count, 0, (), ("A.", "B."))
    assert repr(size) == f"model.h5: {text} on disk, {text} of parameters\n  A.\n  B."


def test_flags_say_how_much(tmp_path: Path, artifact: ArtifactOf) -> None:
    (flag,) = artifact_size(artifact("digits_cnn", "keras")).flags
    assert flag == "Optimizer state inside: 167.1 KiB that only training needs."
    (flag,) = artifact_size(write_dense(tmp_path / "it.onnx", width=16), 512).flags
    assert flag == "Weights stored twice: 1.0 KiB of weights for 0.5 KiB of parameters."


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
    assert {each.version for each in footprint.distributions} == {"1.0"}
    assert repr(footprint) == (
        "alpha: 2 MiB in 3 distribution(s), the largest: alpha 1, beta 0, gamma 0; "
        "not installed: absent-one"
    )
    assert list(footprint.to_frame().columns) == ["name", "version", "size_mib"]


def test_a_footprint_names_the_four_largest() -> None:
    sizes = tuple(DistributionSize(name, "1", 9.0 - n) for n, name in enumerate("abcde"))
    assert repr(InstallFootprint("a + b", sizes)) == (
        "a + b: 35 MiB in 5 distribution(s), the largest: a 9, b 8, c 7, d 6"
    )
    missing = InstallFootprint("a", sizes[:1], ("x", "y"))
    assert repr(missing).endswith("; not installed: x, y")


def test_what_several_need_counts_once(shelf: Path) -> None:
    footprint = install_footprint("alpha", "beta", "delta")
    assert footprint.total_mib == 2.0
    assert footprint.runtime == "alpha + beta + delta"


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
    with pytest.raises(ValueError, match=r"^runtimes: expected at least one name.* got none$"):
        install_footprint()
