"""What the tests of all exercise checks share: the stub, and what makes a good hint."""

from __future__ import annotations

from typing import Any

from helpers.lessons.exercises.feedback import Feedback

STUB = "the function is still the stub"


def stub(*_: Any) -> Any:
    raise NotImplementedError


def expect_hint(feedback: Feedback, names: str, secrets: tuple[str, ...]) -> None:
    """A hint of one short line that names the mistake and keeps the solution to itself."""
    text = repr(feedback)
    assert not feedback.passed
    assert text.startswith("Not yet: ")
    assert names in text
    assert "\n" not in text
    assert len(text) < 330
    assert not [secret for secret in secrets if secret in text]
