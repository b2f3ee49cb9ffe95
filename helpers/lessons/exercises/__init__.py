"""Checks for the exercises: each takes the learner's answer and says what is right or missing.

A check is loaded when it is first asked for: those of the other lessons need other frameworks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

CHECKS = {
    "check_save_for_inference": "save_and_load",
    "check_custom_layer": "save_and_load",
    "check_load_checked": "save_and_load",
    "check_make_function": "tensorflow_graph",
    "check_export_endpoint": "tensorflow_graph",
    "check_export_for_server": "tensorflow_graph",
    "check_export_named": "onnx_model",
    "check_is_deployable": "onnx_model",
    "check_make_deployable": "onnx_model",
}
"""The check of each exercise, in the order of the lessons, and its module."""

__all__ = list(CHECKS)


def __getattr__(name: str) -> Any:
    if name not in CHECKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{CHECKS[name]}"), name)
