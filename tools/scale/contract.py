"""Lesson 2's requests, right ones and wrong ones: the engine must answer as the lesson's server."""

from __future__ import annotations

import json

import httpx

from tools.scale.load import Questions


class ContractError(RuntimeError):
    """An answer is not what lesson 2's server gives."""


def check_contract(url: str, questions: Questions) -> None:
    """Send all test images, and requests with a mistake, with the client of lesson 2.

    Args:
        url: of the model's version 1, up to and with ``:predict``.
        questions: with the images and the answers that are right.

    Raises:
        ContractError: an answer is not the model's own, or a mistake gets another status.
    """
    client = httpx.Client(trust_env=False, timeout=30)

    def ask(url, images):  # noqa: ANN001, ANN202 - the lesson's own cell, word by word
        return client.post(url, json={"instances": images.tolist()})

    rows = ask(url, questions.images).json().get("predictions", [])
    bodies = [json.dumps({"predictions": [row]}).encode() for row in rows]
    right = [questions.is_right(number, "1", body) for number, body in enumerate(bodies)]
    if len(right) != len(questions.images) or not all(right):
        raise ContractError(f"lesson 2's client got {sum(right)} right answers of {len(right)}")
    for name, (address, body, status) in _requests(url, questions.images[0].tolist()).items():
        reply = client.post(address, content=body)
        if reply.status_code != status or (status != 200 and "error" not in reply.json()):
            raise ContractError(f"{name}: expected status {status}, got {reply.status_code}")
    served = client.get(url.removesuffix(":predict")).json()
    if [each["state"] for each in served.get("model_version_status", [])] != ["AVAILABLE"]:
        raise ContractError(f"expected one version that is AVAILABLE, got {served}")


def _requests(url: str, image: list[list[int]]) -> dict[str, tuple[str, str, int]]:
    """List the requests of the lesson's section "Break it", and two that name a version."""
    good = json.dumps({"instances": [image]})
    version = url.replace(":predict", "/versions/{}:predict")
    return {
        "malformed JSON": (url, '{"instances": [[', 400),
        "a missing key": (url, json.dumps({"images": [image]}), 400),
        "half an image": (url, json.dumps({"instances": [image[:4]]}), 400),
        "already divided": (url, json.dumps({"instances": [[[0.5] * 8] * 8]}), 400),
        "above 255": (url, json.dumps({"instances": [[[300] * 8] * 8]}), 400),
        "unknown model": (url.replace("digits", "letters"), good, 404),
        "5 million bytes": (url, " " * 5_000_000, 413),
        "the served version": (version.format(1), good, 200),
        "another version": (version.format(7), good, 404),
    }
