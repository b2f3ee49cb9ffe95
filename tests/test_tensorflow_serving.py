"""The real TensorFlow Serving behind the same `Server`, with a program that stands for it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from helpers.serving import ServingError, start_tensorflow_serving
from process_memory import process_tree
from serving_models import Client, alive


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models" / "digits" / "1").mkdir(parents=True)
    return tmp_path / "models"


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program on the PATH with the name and the flags of TensorFlow Serving."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = shlex.join([sys.executable, str(Path(__file__).parent / "fake_model_server.py")])
    program = folder / "tensorflow_model_server"
    # Not the interpreter after "#!": its path may hold spaces.
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.mark.usefixtures("fake_program")
def test_the_program_gets_its_flags_and_the_same_client_works(models: Path) -> None:
    with start_tensorflow_serving(models, all_addresses=True) as server:
        assert server.url("digits") == f"http://127.0.0.1:{server.port}/v1/models/digits:predict"
        status, answer = Client(server.port).post("/v1/models/digits:predict", {"instances": [1]})
        processes = process_tree(server.process_id)
        if sys.platform == "linux":
            assert len(processes) == 2
    assert status == 200
    assert answer["path"] == "/v1/models/digits:predict"
    assert answer["body"] == {"instances": [1]}
    flags = answer["flags"]
    assert int(flags.pop("port")) not in (0, server.port)
    assert flags == {
        "rest_api_port": str(server.port),
        "model_name": "digits",
        "model_base_path": str((models / "digits").resolve()),
        "file_system_poll_wait_seconds": "1",
    }
    end = time.monotonic() + 30
    while alive(processes):
        assert time.monotonic() < end, "the program outlives its server"
        time.sleep(0.05)


@pytest.mark.usefixtures("fake_program")
def test_a_program_that_ends_is_shown_with_its_words(models: Path) -> None:
    (models / "digits").rename(models / "broken")
    with pytest.raises(ServingError, match="Unknown: broken"):
        start_tensorflow_serving(models, all_addresses=True)


@pytest.mark.usefixtures("fake_program")
def test_listening_everywhere_must_be_meant(models: Path) -> None:
    with pytest.raises(ServingError, match=r"listens at every address.*all_addresses=True"):
        start_tensorflow_serving(models, all_addresses=False)
    (models / "other" / "1").mkdir(parents=True)
    with pytest.raises(ServingError, match="expected one model, got digits, other"):
        start_tensorflow_serving(models, all_addresses=True)


def test_without_the_program_the_message_says_what_to_do(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(models))
    with pytest.raises(ServingError, match=r"not on the PATH.*start_server"):
        start_tensorflow_serving(models, all_addresses=True)
