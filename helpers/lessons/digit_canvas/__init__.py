"""A page that runs an ONNX file in the reader's own browser, on digits that the reader draws."""

from helpers.lessons.digit_canvas.page import (
    RUNTIME_URL,
    RUNTIME_VERSION,
    DigitCanvas,
    digit_canvas,
)

__all__ = ["RUNTIME_URL", "RUNTIME_VERSION", "DigitCanvas", "digit_canvas"]
