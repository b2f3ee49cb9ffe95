"""Which version answers, and that no version can stop the others: with processes that pretend."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from helpers.costs.process import Worker
from helpers.serving import versions
from helpers.serving.body import RequestError
from helpers.serving.versions import ServedModel

LOAD_S = 20.0
Play = Callable[[ServedModel], Awaitable[None]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder with the versions 1 and 9."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(versions, "Worker", lambda _, files: Worker("fake_version", files))
    for version in ("1", "9"):
        (tmp_path / version).mkdir()
    return tmp_path


def play(folder: Path, scene: Play, load_s: float = LOAD_S) -> None:
    """Run a scene with a model, and end the processes."""

    async def run() -> None:
        model = ServedModel("m", folder, load_s, max_rows=10)
        try:
            await scene(model)
        finally:
            model._folder = folder / "none"  # so that no other one is begun
            for version in model._versions.values():
                version.end()
            await asyncio.gather(*model._tasks)  # each removes its files
        assert not any(Path(each._files.name).exists() for each in model._versions.values())

    asyncio.run(run())


def states(model: ServedModel) -> dict[str, str]:
    return {each["version"]: each["state"] for each in model.status()["model_version_status"]}


def error(model: ServedModel, number: int) -> str:
    (found,) = model.status(number)["model_version_status"]
    assert found["status"]["error_code"] == (
        "UNKNOWN" if found["status"]["error_message"] else "OK"
    )
    return found["status"]["error_message"]


async def wait_for(model: ServedModel, expected: dict[str, str]) -> None:
    """Poll until the versions have these states."""
    for _ in range(1000):
        model.poll()
        if states(model) == expected:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{states(model)} instead of {expected}")


def test_an_old_version_is_kept_until_its_last_request_is_answered(folder: Path) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "AVAILABLE"})
        old = model.find()[1]
        (folder / "10").mkdir()  # 10 comes after 9
        requests = [asyncio.create_task(model.predict(None, b"slow")) for _ in range(4)]
        await wait_for(model, {"9": "UNLOADING", "10": "AVAILABLE"})
        assert await model.predict(None, b"") == (200, "10")
        with pytest.raises(RequestError, match="no version 9; it serves version 10") as caught:
            model.find(9)
        assert caught.value.status == 404
        assert await asyncio.gather(*requests) == [(200, "9")] * 4
        assert states(model) == {"9": "END", "10": "AVAILABLE"}
        assert error(model, 9) == ""
        assert not Path(old._files.name).exists()

    play(folder, scene)


def test_the_highest_version_that_is_left_takes_over(folder: Path) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "AVAILABLE"})
        (folder / "9").rmdir()
        await wait_for(model, {"1": "AVAILABLE", "9": "END"})
        (folder / "1").rmdir()
        model.poll()
        assert await model.predict(None, b"") == (200, "1")  # better than no answer

    play(folder, scene)


def test_a_damaged_version_is_tried_again_when_it_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = versions.Version.__init__
    monkeypatch.setattr(
        versions.Version, "__init__",
        lambda self, path, error="": (started.append(path.name), start(self, path, error))[1],
    )  # fmt: skip

    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"1": "AVAILABLE", "9": "END"})
        model.poll()
        assert started == ["9", "1"]
        assert error(model, 9) == "9 is damaged"
        (folder / "9" / "damaged").unlink()
        await wait_for(model, {"9": "AVAILABLE", "1": "END"})
        assert error(model, 9) == ""

    (folder / "9" / "damaged").touch()
    play(folder, scene)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("aborts", "it crashed with signal SIGABRT"),
        ("hangs", "it gave no answer within 1 s"),
        ("no_words", "it sent what is no reply"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_reported(
    folder: Path, behaviour: str, message: str
) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "END", "1": "AVAILABLE"})
        assert message in error(model, 9)
        assert await model.predict(None, b"") == (200, "1")

    (folder / "9" / behaviour).touch()
    play(folder, scene, load_s=1.0)


def test_a_version_that_hangs_keeps_no_later_one_out(folder: Path) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "LOADING"})
        (folder / "10" / "damaged").mkdir(parents=True)
        await wait_for(model, {"10": "END", "9": "LOADING"})
        (folder / "11").mkdir()
        await wait_for(model, {"11": "AVAILABLE", "10": "END", "9": "END"})
        assert error(model, 9) == "it was not ready when another one was wanted"

    (folder / "9" / "hangs").touch()
    play(folder, scene)


def test_a_version_that_was_ended_while_its_answer_came_never_takes_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "AVAILABLE"})
        ask = versions.Version.ask

        async def ended_meanwhile(version: versions.Version, *arguments: object) -> dict:
            answer = await ask(version, *arguments)
            version.end("it was not ready when another one was wanted", may_return=True)
            return answer

        monkeypatch.setattr(versions.Version, "ask", ended_meanwhile)
        (folder / "10").mkdir()
        model.poll()
        while states(model)["10"] == "LOADING":
            await asyncio.sleep(0.02)
        monkeypatch.setattr(versions.Version, "ask", ask)
        assert states(model) == {"9": "AVAILABLE", "10": "END"}
        assert await model.predict(None, b"") == (200, "9")
        await wait_for(model, {"10": "AVAILABLE", "9": "END"})

    play(folder, scene)


def test_links_that_lead_nowhere_stop_nothing(folder: Path) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "END", "1": "AVAILABLE"})
        (folder / "10").symlink_to("10")
        await wait_for(model, {"10": "END", "9": "END", "1": "AVAILABLE"})
        (folder / "11").mkdir()
        await wait_for(model, {"11": "AVAILABLE", "10": "END", "9": "END", "1": "END"})

    (folder / "9" / "damaged").touch()
    (folder / "9" / "loop").symlink_to("loop")
    play(folder, scene)


def test_a_version_that_crashes_while_it_serves_comes_back(folder: Path) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "AVAILABLE"})
        crash = asyncio.create_task(model.predict(None, b"crash"))
        waiting = asyncio.create_task(model.predict(None, b""))
        for request in (crash, waiting):
            with pytest.raises(RequestError, match="version 9 has ended: it crashed") as caught:
                await request
            assert caught.value.status == 503
        with pytest.raises(RequestError, match="not ready: version 9: it crashed with signal"):
            model.find()
        await wait_for(model, {"9": "AVAILABLE"})
        assert await model.predict(9, b"") == (200, "9")
        os.kill(model.find()[1]._worker.process_id, signal.SIGKILL)  # while nobody asks
        await wait_for(model, {"9": "LOADING"})
        assert "signal SIGKILL" in error(model, 9)
        await wait_for(model, {"9": "AVAILABLE"})
        assert error(model, 9) == ""

    play(folder, scene)


def test_a_version_that_computes_without_end_is_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(model: ServedModel) -> None:
        await wait_for(model, {"9": "AVAILABLE"})
        with pytest.raises(RequestError, match=r"it gave no answer within 0\.2 s"):
            await model.predict(None, b"slow")
        await wait_for(model, {"9": "AVAILABLE"})

    monkeypatch.setattr(versions, "ANSWER_S", 0.2)
    play(folder, scene)


def test_before_the_first_version_is_loaded_the_answer_is_to_wait(folder: Path) -> None:
    async def scene(model: ServedModel) -> None:
        model.poll()
        with pytest.raises(RequestError, match="not ready: it is being loaded") as caught:
            model.find()
        assert caught.value.status == 503
        with pytest.raises(RequestError, match="model 'm' has no version 3"):
            model.status(3)

    play(folder, scene)
