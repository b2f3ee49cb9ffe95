"""Safe mode is never off: nothing that a model file says becomes code in a helper."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from helpers.formats import ArtifactError, open_artifact
from helpers.parity import GoldenError, float64_reference

ROOT = Path(__file__).resolve().parents[1]
ROWS = np.ones((2, 4), np.float32)


def serialized(path: Path) -> Iterator[dict[str, Any]]:
    """Give the configuration in a file to be edited, and write it back."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(members["config.json"])
        yield config
        members["config.json"] = json.dumps(config).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            yield config
            file.attrs["model_config"] = json.dumps(config)


@pytest.fixture(params=[".keras", ".h5"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that Keras opens in safe mode: code is an argument of a call, in the old list form.

    Keras keeps such an argument as data when it opens the file. Whoever writes the model down
    and reads that text with safe mode off runs it.
    """
    marker = tmp_path / "marker"
    payload = keras.layers.Lambda(eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"))
    entry = keras.Input((4,), name="entry")
    hidden = keras.saving.serialize_keras_object(keras.Model(entry, payload(entry)))
    marker.unlink()  # building the payload ran it: it works
    path = tmp_path / f"model{request.param}"
    keras.Model(entry, keras.layers.Dense(3, name="last")(entry)).save(path)
    for config in serialized(path):
        (last,) = (each for each in config["config"]["layers"] if each["config"]["name"] == "last")
        last["inbound_nodes"] = [[["entry", 0, 0, {"training": hidden}]]]
    return path


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_hidden_code_does_not_run_in_a_golden_run(hostile: Path) -> None:
    model = keras.saving.load_model(hostile, compile=False)
    assert model.predict_on_batch(ROWS).shape == (2, 3)
    with pytest.raises(GoldenError, match="holds Python code, and code that came with a model"):
        float64_reference(model, ROWS)
    assert not (hostile.parent / "marker").exists()


def test_hidden_code_is_found_before_keras_reads_the_file(hostile: Path) -> None:
    with pytest.raises(ArtifactError, match="contains Python code that would run on loading"):
        open_artifact(hostile)


def test_hidden_code_does_not_run_in_the_scorecard(hostile: Path) -> None:
    command = [sys.executable, "-m", "helpers.scorecard", hostile, "--budget", "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "it contains Python code that would run on loading" in result.stderr
    trusted = subprocess.run(
        [*command, "--trust"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert trusted.returncode == 0, trusted.stderr
    assert "holds Python code" in " ".join(trusted.stdout.split())
    assert not (hostile.parent / "marker").exists()


def switches_safe_mode_off(tree: ast.AST) -> bool:
    """Tell whether code could deserialize with safe mode off, by an argument or for good."""
    for node in ast.walk(tree):
        name = getattr(node, "attr", getattr(node, "id", ""))
        if name in ("enable_unsafe_deserialization", "SafeModeScope"):
            return True
        stated = isinstance(node, ast.keyword) and node.arg == "safe_mode"
        if stated and not (isinstance(node.value, ast.Constant) and node.value.value is True):
            return True
    return False


def test_no_helper_switches_safe_mode_off() -> None:
    sources = sorted((ROOT / "helpers").rglob("*.py"))
    assert sources
    found = [path for path in sources if switches_safe_mode_off(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "load_model(path, safe_mode=False)",
        "load_model(path, safe_mode=not trust)",
        "keras.config.enable_unsafe_deserialization()",
        "with SafeModeScope(False): load(path)",
    ],
)
def test_the_search_finds_what_switches_it_off(source: str) -> None:
    assert switches_safe_mode_off(ast.parse(source))
    assert not switches_safe_mode_off(ast.parse("load_model(path, safe_mode=True)"))
