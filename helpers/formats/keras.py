"""The kinds ``.keras`` and ``.h5``: files that Keras writes and reads."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from helpers.formats.format import ArtifactSize, Format, Look, Refusal, StoredFile, Traits
from helpers.formats.identify import (
    ArtifactError,
    identify_as,
    in_words,
    refusing,
    unreadable,
)
from helpers.formats.keras_archive import (
    LARGEST_UNPACKED,
    MEMBERS,
    TRUST_REMEDY,
    open_weights,
    read_config,
)
from helpers.formats.keras_config import PYTHON_CODE, operators_in, suspicious_parts
from helpers.formats.keras_runtime import KerasMethod, KerasRuntime, check_method
from helpers.formats.saved_model import OPTIMIZER_GROUPS, limit_tensorflow_threads
from helpers.formats.tensors import InputError

SUFFIXES = {"keras": (".keras",), "h5": (".h5", ".hdf5")}

SAVE_AGAIN = "Save or copy the model again, and compare the sizes."
HOLDS_CODE = (
    "it contains Python code that would run on loading",
    "Code inside a model file runs with your rights. Load it only if you trust its author, with "
    "keras.saving.load_model(path, safe_mode=False).",
)
CUSTOM_CODE_REMEDY = (
    "Import the module that defines and registers the class before loading, or pass "
    "custom_objects={'Name': Class}."
)
OPERATORS_REMEDY = (
    "Save the model as .keras. Or build the same model in code and call model.load_weights(path): "
    "the weights are right."
)
OTHER_REMEDY = "If the file is whole, compare the Keras version that wrote it with the one here."

CALLS_REMEDY = (
    "Keras would call it while it loads the file, in safe mode too. Ask the author for a model "
    "without it. If you know where the file comes from: trust=True, or --trust in a terminal."
)
MOST_NAMED = 5
MOST_TIMES_LARGER = 20

# What Keras 3.15 says of a class or function that it does not know, in small letters.
CUSTOM_CODE_WORDS = (
    "unknown layer",  # .h5
    "could not locate",
    "cannot be imported",
    "could not be deserialized",
    "not registered",
    "not been registered",
    "register_keras_serializable",
)


def load_keras(
    path: str | Path,
    method: KerasMethod = "predict_on_batch",
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> KerasRuntime:
    """Open a ``.keras`` or ``.h5`` file for inference (``compile=False``, ``safe_mode=True``).

    The file is read first, without Keras: what it would make Keras call, and how much it unpacks.

    Args:
        path: told apart by content; the suffix may be anything.
        method: how the model is called; see `KerasRuntime`.
        custom_objects: classes by name, for models with code of your own.
        trust: you know where the file comes from: skip the reading. Safe mode stays on.

    Raises:
        ArtifactError: the file is damaged, of another kind, holds only weights, contains Python
            code, names what is no part of a model, is far larger inside than outside, or needs
            classes that this process does not know.
        ValueError: no such method.
    """
    path = Path(path)
    kind = identify_as(path, "a Keras file", "keras", "h5")
    check_method(method)
    if trust:
        _READ_CONFIG[kind](path)  # says what is damaged in better words than Keras
    else:
        _look_inside(path, kind)
    import keras

    # Keras decides by suffix how to read a file. Where the suffix is wrong, it gets a copy.
    explain = partial(_explain_loading, path=path, kind=kind)
    with tempfile.TemporaryDirectory() as folder, refusing(path, explain):
        source = path
        if path.suffix not in SUFFIXES[kind]:
            source = Path(folder) / f"model.{kind}"
            shutil.copyfile(path, source)
        model = keras.saving.load_model(
            source, custom_objects=custom_objects, compile=False, safe_mode=True
        )
    with refusing(path, _explain_calling):
        return KerasRuntime(model, method)


def _look_inside(path: Path, kind: str) -> None:
    """Refuse a file that makes Keras call something, or unpack far more than it is."""
    with refusing(path, unreadable("its configuration", SAVE_AGAIN)):
        parts = suspicious_parts(json.loads(_READ_CONFIG[kind](path)))
    if PYTHON_CODE in parts:
        raise ArtifactError(path, *HOLDS_CODE)
    if parts:
        more = f" and {len(parts) - MOST_NAMED} more" if parts[MOST_NAMED:] else ""
        named = f"{', '.join(parts[:MOST_NAMED])}{more}"
        raise ArtifactError(path, f"it names what is no part of a model: {named}", CALLS_REMEDY)
    weigh = _weigh_keras if kind == "keras" else _weigh_h5
    size = weigh(path)
    unpacked = size.weight_bytes + size.optimizer_bytes
    if unpacked > max(LARGEST_UNPACKED, MOST_TIMES_LARGER * size.total_bytes):
        raise ArtifactError(
            path,
            f"it has {size.total_bytes / 2**20:.1f} MiB and declares weights of "
            f"{unpacked / 2**20:,.0f} MiB",
            TRUST_REMEDY,
        )


def innermost_reason(error: Exception) -> str:
    """Return the line of a Keras error that names the cause: Keras wraps it once for each layer."""
    cause = str(error).rpartition("Exception encountered:")[2].strip()
    return cause.partition("\n")[0].rstrip(".") or type(error).__name__


def _explain_loading(error: Exception, path: Path, kind: str) -> Refusal:
    words = str(error).lower()
    if kind == "h5" and (operators := operators_in(json.loads(_read_h5_config(path)))):
        return (
            f"it holds operators that Keras does not bring back from .h5 ({', '.join(operators)})",
            OPERATORS_REMEDY,
        )
    if "safe_mode" in words:
        return HOLDS_CODE
    finding = f"Keras cannot load it ({type(error).__name__}: {innermost_reason(error)})"
    if any(known in words for known in CUSTOM_CODE_WORDS):
        return finding, CUSTOM_CODE_REMEDY
    return finding, OTHER_REMEDY


def _explain_calling(error: Exception) -> Refusal:
    if isinstance(error, InputError):
        return "it loads, but cannot be called by name", str(error)
    return f"it loads, but cannot be called ({in_words(error)})", OTHER_REMEDY


def _recognizes_keras(look: Look) -> bool | Refusal:
    if not look.start.startswith(b"PK"):
        return False
    if look.members is None:
        return (
            "it starts like a .keras file (a zip archive) but its table of contents is missing, "
            "so it was probably cut off",
            SAVE_AGAIN,
        )
    missing = sorted(MEMBERS - look.members)
    finding = f"it is a zip archive but no .keras file: it has no {', '.join(missing)}"
    if any(member.endswith("data.pkl") for member in look.members):
        finding = "it is a zip archive that looks like a PyTorch file"
    return not missing or (finding, "Save the model with `model.save('model.keras')`.")


def _weigh_keras(path: Path) -> ArtifactSize:
    with refusing(path, unreadable("its weights", SAVE_AGAIN)), zipfile.ZipFile(path) as archive:
        files = tuple(StoredFile(item.filename, item.compress_size) for item in archive.infolist())
        with open_weights(archive) as source:
            weights, optimizer = _hdf5_bytes(source)
    return ArtifactSize(path, "keras", path.stat().st_size, weights, weights, optimizer, files)


def _weigh_h5(path: Path) -> ArtifactSize:
    with refusing(path, unreadable("its weights", SAVE_AGAIN)):
        weights, optimizer = _hdf5_bytes(path)
    total = path.stat().st_size
    files = (StoredFile(path.name, total),)
    return ArtifactSize(path, "h5", total, weights, weights, optimizer, files)


def _hdf5_bytes(source: Path | IO[bytes]) -> tuple[int, int]:
    """Return the bytes of the weights and of the optimizer; there are no copies in these files."""
    import h5py

    sums = {True: 0, False: 0}

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            sums[name.split("/")[0] in OPTIMIZER_GROUPS] += item.nbytes

    with h5py.File(source, "r") as file:
        file.visititems(add)
    return sums[False], sums[True]


def _keras_traits(path: Path, size: ArtifactSize | None = None) -> Traits:
    with refusing(path, unreadable("its config.json", SAVE_AGAIN)):
        config = json.loads(read_config(path))
        has_settings = bool((config.get("compile_config") or {}).get("optimizer"))
        needs_code = _names_foreign_code(config)
    return Traits(
        needs_tensorflow=True,
        needs_your_code=needs_code,
        resumes_training=has_settings and (size or _weigh_keras(path)).optimizer_bytes > 0,
    )


def _h5_traits(path: Path, size: ArtifactSize | None = None) -> Traits:
    with refusing(path, unreadable("its configuration", SAVE_AGAIN)):
        needs_code = _names_foreign_code(json.loads(_read_h5_config(path)))
    return Traits(needs_tensorflow=True, needs_your_code=needs_code, resumes_training=False)


def _read_h5_config(path: Path) -> str | bytes:
    import h5py

    def explain(error: Exception) -> Refusal:
        start = f"it starts like an HDF5 file but cannot be read ({in_words(error)})"
        return f"{start}, so it was probably cut off", SAVE_AGAIN

    with refusing(path, explain), h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise ArtifactError(
            path,
            "it holds weights only, not the architecture",
            "Build the model in code, then call model.load_weights(path).",
        )
    return config


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


_READ_CONFIG = {"keras": read_config, "h5": _read_h5_config}

KERAS = Format(
    kind="keras",
    title="the .keras format",
    short=".keras",
    framework="keras",
    recognizes=_recognizes_keras,
    load=load_keras,
    options=("method", "trust"),
    limit_threads=limit_tensorflow_threads,
    contents=_weigh_keras,
    traits=_keras_traits,
)
H5 = replace(
    KERAS,
    kind="h5",
    title="the .h5 format",
    short=".h5",
    recognizes=lambda look: look.start.startswith(b"\x89HDF\r\n\x1a\n"),
    contents=_weigh_h5,
    traits=_h5_traits,
)
