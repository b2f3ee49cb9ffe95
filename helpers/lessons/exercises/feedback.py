"""What a check answers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FRAMES = re.compile(r"\Ain user code:\n\n.*?\n\n\s*\w+: ", re.DOTALL)
"""What TensorFlow puts before the message of an error in a function that it traces."""


@dataclass(frozen=True, repr=False)
class Feedback:
    """The answer to one attempt.

    Attributes:
        passed: whether the exercise is solved.
        message: what was seen, and for a failed attempt a hint at the cause, not the solution.
    """

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'Passed' if self.passed else 'Not yet'}: {self.message}"


class NotYet(Exception):
    """Raised inside a check as soon as something is missing; its text is the feedback."""


def give_feedback(check: Callable[[], str]) -> Feedback:
    """Run a check: its return value is praise, a `NotYet` is a hint."""
    try:
        return Feedback(True, check())
    except NotYet as hint:
        return Feedback(False, str(hint))


def call_answer(function: Callable[..., Any], *arguments: object) -> Any:
    """Call the learner's function; what it raises becomes a hint instead of a traceback."""
    if not callable(function):
        raise NotYet(
            f"expected a function, got {type(function).__name__}. Give its name, without ()."
        )
    try:
        return function(*arguments)
    except Exception as error:  # any mistake of the learner is worth an answer
        if type(error) is NotImplementedError and not str(error):  # with a text, it is a library's
            raise NotYet(
                "the function is still the stub. Write its body, then run the cell."
            ) from error
        raise NotYet(f"your function raised {type(error).__name__}: {shorten(error)}") from error


def one_line(error: Exception) -> str:
    """Make one line of a message, without frames, colours and the arguments that Keras lists."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", FRAMES.sub("", str(error)))
    message = message.partition("Arguments received")[0]
    return " ".join(message.split())


def shorten(error: Exception) -> str:
    """Keep the start of a message: some libraries put a whole graph into theirs."""
    return textwrap.shorten(one_line(error), 220, placeholder=" ...")
