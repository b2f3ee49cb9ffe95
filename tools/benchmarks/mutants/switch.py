"""Chooses between a function and its mutants. `mutation.py` copies it into the mutated package.

It stands in for mutmut's own switch, which needs mutmut in every process that a test starts.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

VARIABLE = "MUTANT"
"""The environment variable with the name of the mutant; none is active when it is empty."""

MutantDict = dict[str, Callable[..., Any]]
reached: set[str] = set()
"""The functions that were called, as ``module.mangled_name``."""


def switched(variants: MutantDict) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator that calls the active one of the `variants`, which are filled in later."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        module = function.__module__

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            original = variants["_mutmut_orig"]
            reached.add(f"{module}.{original.__name__.removesuffix('__mutmut_orig')}")
            where, _, mutant = os.environ.get(VARIABLE, "").rpartition(".")
            chosen = variants.get(mutant, original) if where == module else original
            return chosen(*arguments, **options)

        return call

    return decorate
