"""A page that runs an ONNX file in the reader's own browser, on digits that the reader draws.

It is one HTML document that holds the model, the style and the program.
"""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from helpers.formats.identify import ArtifactError
from helpers.formats.onnx import load_onnx

RUNTIME_VERSION = "1.30.0"
RUNTIME_URL = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{RUNTIME_VERSION}/dist/"
"""Where the browser finds onnxruntime-web, ONNX Runtime compiled for browsers. It must be a whole
address: the page has none of its own that a relative one could refer to."""

IMAGE_SHAPE = (8, 8, 1)
DARKEST = 16
"""Grey levels go from 0 to 16, as in the data set; the model takes them divided by 16."""

CLASS_COUNT = 10
MAX_MODEL_BYTES = 1_000_000
"""The model is stored in the notebook, as text that is a third longer than the file."""

WIDE_PX, NARROW_PX = 510, 880
"""A frame does not grow with its content, so both layouts of the page have a height."""


@dataclass(frozen=True, repr=False)
class DigitCanvas:
    """A page to draw a digit on. A notebook shows it in a frame.

    Attributes:
        model_name: the name of the ONNX file.
        document: the page, a whole HTML document. It holds the bytes of the file in base64.
    """

    model_name: str
    document: str

    def __repr__(self) -> str:
        return f"A page that runs {self.model_name} in the browser (draw a digit, see ten bars)"

    def _repr_html_(self) -> str:
        """Wrap the page in a frame without rights: it cannot reach the notebook around it."""
        document = html.escape(self.document)
        frame = _part("frame.html").rstrip()
        return frame.format(document=document, wide=WIDE_PX, narrow=NARROW_PX)


def digit_canvas(path: str | Path, examples: np.ndarray | None = None) -> DigitCanvas:
    """Build a page on which a reader draws a digit, and the model in the browser reads it.

    The model travels inside the page. Its runtime, onnxruntime-web, comes from `RUNTIME_URL` when
    the page is opened, so that needs a network; the page says so when there is none.

    Args:
        path: an ONNX file with one input, float32 ``(n, 8, 8, 1)`` in [0, 1], and one output,
            float32 ``(n, 10)``, as `helpers.lessons.models.build_digits_cnn` has.
        examples: float32 ``(k, 8, 8, 1)`` in [0, 1]. The page offers them as buttons, for those
            who cannot draw.

    Raises:
        ArtifactError: the file cannot be opened, takes or gives something else, or is too large.
        ValueError: the examples have another shape or other values.
    """
    path = Path(path)
    _check_model(path)
    settings = {
        "model": base64.b64encode(path.read_bytes()).decode("ascii"),
        "modelName": path.name,
        "runtime": RUNTIME_URL,
        "runtimeVersion": RUNTIME_VERSION,
        "darkest": DARKEST,
        "examples": [] if examples is None else _grey_levels(examples),
    }
    # A "<" in a script element could end it; JSON has another way to write the character.
    parts = {
        "{style}": _part("page.css"),
        "{settings}": json.dumps(settings, separators=(",", ":")).replace("<", "\\u003c"),
        "{script}": _part("page.js"),
    }
    document = _part("page.html")
    for placeholder, text in parts.items():
        document = document.replace(placeholder, text)
    return DigitCanvas(path.name, document)


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _check_model(path: Path) -> None:
    with load_onnx(path) as runtime:
        found = [(spec.shape, spec.dtype) for spec in (*runtime.inputs, *runtime.outputs)]
    if found != [((None, *IMAGE_SHAPE), "float32"), ((None, CLASS_COUNT), "float32")]:
        raise ArtifactError(
            path,
            f"the page cannot use it: {runtime!r}",
            f"It must take one float32 array (n, {', '.join(map(str, IMAGE_SHAPE))}) and give one "
            f"float32 array (n, {CLASS_COUNT}), with n free.",
        )
    size = path.stat().st_size
    if size > MAX_MODEL_BYTES:
        raise ArtifactError(
            path,
            f"it has {size:,} bytes, and a page inside a notebook takes {MAX_MODEL_BYTES:,}",
            "Serve a large model as a file beside the page.",
        )


def _grey_levels(images: np.ndarray) -> list[list[int]]:
    """Return the grey levels (0 to 16) of each image, row by row."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        raise ValueError(f"examples: expected the shape (k, 8, 8, 1), got {images.shape}")
    if not (np.min(images, initial=0) >= 0 and np.max(images, initial=0) <= 1):  # NaN fails too
        raise ValueError("examples: expected values from 0 (white) to 1 (black)")
    return np.rint(images * DARKEST).astype(int).reshape(len(images), -1).tolist()
