"""What an artifact asks of the place where it runs, read from its content."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from helpers.costs.size import ArtifactSize, artifact_size
from helpers.formats.identify import ArtifactKind, identify


@dataclass(frozen=True)
class Traits:
    """Answers to three questions that decide between strategies.

    Attributes:
        needs_tensorflow: whether TensorFlow must be installed where it runs.
        needs_your_code: whether classes or functions of yours must be imported there.
        resumes_training: whether training goes on with the optimizer's state after loading.
    """

    needs_tensorflow: bool
    needs_your_code: bool
    resumes_training: bool


def read_traits(path: str | Path, size: ArtifactSize | None = None) -> Traits:
    """Read the traits from the file; nothing is loaded or executed.

    A ``.keras`` file resumes when it holds the optimizer's variables and its settings; ``.h5``
    files do not, since Keras 3 restores none of the variables that they hold.

    Args:
        path: of the artifact.
        size: what `artifact_size` says of it; read when not given.

    Raises:
        ArtifactError: no artifact, or a damaged one.
    """
    path = Path(path)
    kind = identify(path)
    config = _configuration(path, kind)
    compiled = config.get("compile_config") or {}
    has_settings = kind == "keras" and bool(compiled.get("optimizer"))
    return Traits(
        needs_tensorflow=kind != "onnx",
        needs_your_code=_names_foreign_code(config),
        resumes_training=has_settings and (size or artifact_size(path)).optimizer_bytes > 0,
    )


def _configuration(path: Path, kind: ArtifactKind) -> dict[str, Any]:
    """Return what the file says about how to build the model; empty where it holds a graph."""
    if kind == "keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    if kind == "h5":
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["model_config"])
    return {}


def _names_foreign_code(config: Any) -> bool:
    """Tell whether a configuration names a class that Keras does not have, or Python code."""
    if isinstance(config, list):
        return any(map(_names_foreign_code, config))
    if not isinstance(config, dict):
        return False
    if "class_name" in config:
        # Keras registers its own Functional under a name, too: only the module tells whose it is.
        own = (config.get("module") or "").split(".")[0] != "keras"
        # The old format names built-in classes without a module.
        if config["class_name"] in ("Lambda", "__lambda__") or (own and "module" in config):
            return True
    return any(map(_names_foreign_code, config.values()))
