"""What a check answers, and what all checks do with an answer: call it, look at what it wrote."""

from __future__ import annotations

import inspect
import re
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from helpers.formats.identify import ArtifactError, ArtifactKind, identify

Answer = ParamSpec("Answer")

FORMAT_NAMES: dict[ArtifactKind, str] = {
    "keras": "the .keras format",
    "saved_model": "a SavedModel folder",
    "onnx": "an ONNX file",
}
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


def exercise(check: Callable[Answer, str]) -> Callable[Answer, Feedback]:
    """Make a check of a function that returns its praise or raises `NotYet` with a hint."""

    @wraps(check)
    def give_feedback(*answer: Answer.args, **named: Answer.kwargs) -> Feedback:
        try:
            return Feedback(True, check(*answer, **named))
        except NotYet as hint:
            return Feedback(False, str(hint))

    signature = inspect.signature(check).replace(return_annotation="Feedback")
    give_feedback.__signature__ = signature  # for help()
    return give_feedback


def require(holds: object, hint: str) -> None:
    """Demand that something holds.

    Raises:
        NotYet: it does not; the hint is its text.
    """
    if not holds:
        raise NotYet(hint)


def call_answer(function: Callable[..., Any], *arguments: object) -> Any:
    """Call the learner's function; what it raises becomes a hint instead of a traceback."""
    found = type(function).__name__
    require(callable(function), f"expected a function, got {found}. Give its name, without ().")
    try:
        return function(*arguments)
    except Exception as error:  # any mistake of the learner is worth an answer
        if type(error) is NotImplementedError and not str(error):  # with a text, it is a library's
            raise NotYet(
                "the function is still the stub. Write its body, then run the cell."
            ) from error
        raise NotYet(f"your function raised {type(error).__name__}: {shorten(error)}") from error


@contextmanager
def written_by(
    function: Callable[..., Any], model: object, name: str, kind: ArtifactKind
) -> Iterator[Path]:
    """Call ``function(model, path)``, and give the path in a ``with`` block that removes it.

    Args:
        function: the answer.
        model: what it shall write.
        name: of the path, in an empty folder.
        kind: what must be there afterwards, told by its content.

    Raises:
        NotYet: the function raised an exception, or there is nothing at the path, an artifact of
            another kind, or no model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        call_answer(function, model, path)
        if not path.exists():
            names = sorted(each.name for each in path.parent.iterdir())
            beside = f" It wrote {', '.join(names)} beside it." if names else ""
            raise NotYet(f"there is nothing at the path that the function was given.{beside}")
        try:
            found = identify(path)
        except ArtifactError as error:
            raise NotYet(f"what was written cannot be used: {error.finding}.") from error
        wanted = FORMAT_NAMES[kind]
        require(found == kind, f"the format is {found}. This exercise asks for {wanted}.")
        yield path


def one_line(error: Exception) -> str:
    """Make one line of a message, without frames, colours and the arguments that Keras lists."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", FRAMES.sub("", str(error)))
    message = message.partition("Arguments received")[0]
    return " ".join(message.split())


def shorten(error: Exception) -> str:
    """Keep the start of a message: some libraries put a whole graph into theirs."""
    return textwrap.shorten(one_line(error), 220, placeholder=" ...")
