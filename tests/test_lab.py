"""`make lab` for real: JupyterLab starts, answers on this machine only, and holds the lessons."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "only-for-this-test"
START_S = 60


def ready_here() -> bool:
    """Tell whether `make` would find its environment finished, and so install nothing."""
    stamp = ROOT / ".venv" / "ready"
    sources = [ROOT / "requirements.txt", ROOT / "pyproject.toml"]
    return (
        shutil.which("make") is not None
        and stamp.is_file()
        and stamp.read_text(encoding="utf-8").strip() == str(ROOT)
        and all(stamp.stat().st_mtime >= source.stat().st_mtime for source in sources)
    )


def free_port() -> int:
    """Return a port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port: int, path: str) -> bytes:
    """Ask the server, with the token."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"token {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a JupyterLab started by `make lab`, stopped with all its children."""
    if not ready_here():
        pytest.skip("this environment was not made by `make`, so `make lab` would install one")
    number = free_port()
    arguments = f"--no-browser --port={number} --IdentityProvider.token={TOKEN}"
    server = subprocess.Popen(
        ["make", "lab", f"LAB_ARGS={arguments}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_ready(number, server)
        yield number
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def wait_until_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait for the first answer."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, "make lab ended by itself"
        try:
            get(port, "/api/status")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"make lab did not answer within {START_S} s")


def test_the_lessons_are_there(port: int) -> None:
    listing = json.loads(get(port, "/api/contents/notebooks"))
    names = {entry["name"] for entry in listing["content"]}
    assert {path.name for path in ROOT.glob("notebooks/*.ipynb")} <= names
    assert b"jupyter-config-data" in get(port, "/lab/tree/notebooks/01_save_and_load.ipynb")


def test_the_kernel_of_the_lessons_is_known(port: int) -> None:
    kernels = json.loads(get(port, "/api/kernelspecs"))["kernelspecs"]
    assert kernels["python3"]["spec"]["display_name"] == "Python 3 (ipykernel)"


def test_strangers_are_kept_out(port: int) -> None:
    """Without the token there is no access, and no other address of the machine answers."""
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=10)
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in addresses - {"127.0.0.1", "::1"}:
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            socket.create_connection((address, port), timeout=2).close()
