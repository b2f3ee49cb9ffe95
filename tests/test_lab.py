"""`make lab` for real: JupyterLab starts, answers on this machine only, and holds the lessons."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from lab import ROOT, ask, start_lab


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with start_lab() as port:
        yield port


def test_the_lessons_are_there(port: int) -> None:
    listing = json.loads(ask(port, "/api/contents/notebooks"))
    names = {entry["name"] for entry in listing["content"]}
    assert {path.name for path in ROOT.glob("notebooks/*.ipynb")} <= names
    assert b"jupyter-config-data" in ask(port, "/lab/tree/notebooks/01_save_and_load.ipynb")


def test_the_kernel_of_the_lessons_is_known(port: int) -> None:
    kernels = json.loads(ask(port, "/api/kernelspecs"))["kernelspecs"]
    assert kernels["python3"]["spec"]["display_name"] == "Python 3 (ipykernel)"


def test_strangers_are_kept_out(port: int) -> None:
    """Without the token there is no access, and no other address of the machine answers."""
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=10)
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in addresses - {"127.0.0.1", "::1"}:
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            socket.create_connection((address, port), timeout=2).close()
