"""The page of lesson 3, in a real browser: the ONNX file answers there as it does in Python.

The page is shown as a notebook shows it: in a frame without rights. What it asks of the network is
answered here, with the files of an npm package, or not at all.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chromium import AXE_CORE, axe_violations, npm_install, open_chromium
from conftest import ArtifactOf
from helpers.formats import OnnxRuntime, load_onnx
from helpers.formats.identify import ArtifactError
from helpers.lessons.digit_canvas import RUNTIME_URL, RUNTIME_VERSION, DigitCanvas, digit_canvas
from helpers.lessons.digits import Digits
from tiny_onnx import write_dense

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Frame, Page, Route

IMAGES = 100
TOLERANCE = 1e-5
PATIENCE_MS = 120_000
TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm"}
Point = tuple[float, float]

HAND = {
    0: [[(50, 8), (28, 25), (25, 55), (32, 82), (50, 92), (70, 80), (75, 50), (70, 22), (50, 8)]],
    1: [[(38, 28), (54, 8), (54, 92)]],
    2: [[(28, 28), (38, 12), (58, 9), (70, 24), (64, 46), (28, 90), (74, 90)]],
    3: [[(30, 18), (48, 9), (68, 22), (60, 42), (45, 48), (66, 56), (71, 74), (52, 91), (28, 82)]],
    4: [[(48, 8), (26, 60), (74, 60)], [(60, 40), (58, 92)]],
    5: [[(70, 10), (36, 10), (32, 45), (54, 41), (70, 56), (68, 78), (50, 91), (28, 84)]],
    6: [[(60, 8), (38, 34), (29, 66), (40, 90), (62, 88), (70, 70), (58, 54), (32, 62)]],
    7: [[(28, 10), (72, 10), (54, 46), (44, 92)], [(32, 50), (68, 50)]],
    8: [[(50, 48), (30, 30), (38, 11), (62, 11), (70, 28), (50, 48), (30, 70), (40, 90), (62, 90),
         (70, 72), (50, 48)]],
    9: [[(68, 34), (50, 48), (32, 36), (36, 14), (56, 9), (68, 22), (68, 50), (56, 92)]],
}  # fmt: skip
"""How one person draws the digits: strokes of points, in percent of the paper."""


@dataclass
class Demo:
    """An open page, the frame in it, and what happened there."""

    page: Page
    frame: Frame
    requests: list[str]
    complaints: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Press the button."""
        self.frame.get_by_role("button", name="Clear").click()

    def choose(self, number: int) -> None:
        """Press the button of a test image, counted from 1."""
        self.frame.get_by_role("button", name=f"Test image {number}", exact=True).click()

    def draw(self, strokes: list[list[Point]], scale: float = 1.0, corner: Point = (0, 0)) -> None:
        """Move the mouse over the paper; points in percent, `corner` in percent of the paper."""
        box = self.frame.locator("#paper").bounding_box()
        assert box is not None

        def place(point: Point) -> Point:
            return (
                box["x"] + box["width"] * (corner[0] + scale * point[0]) / 100,
                box["y"] + box["height"] * (corner[1] + scale * point[1]) / 100,
            )

        for first, *others in strokes:
            self.page.mouse.move(*place(first))
            self.page.mouse.down()
            for point in others:
                self.page.mouse.move(*place(point), steps=3)
            self.page.mouse.up()
        self.answer()

    def answer(self) -> np.ndarray:
        """Wait until the page has shown its answer, and return it: `(10,)` probabilities."""
        return np.array(self.frame.evaluate("classify(shownLevels())"))

    def levels(self) -> np.ndarray:
        """Return the grey levels that the page gave to the model: `(8, 8)` integers."""
        return np.array(self.frame.evaluate("shownLevels()")).reshape(8, 8)

    def status(self) -> str:
        return self.frame.get_by_role("status").inner_text()


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """The runtime of the page and an accessibility checker, out of the npm registry."""
    with tempfile.TemporaryDirectory() as folder:
        yield npm_install(Path(folder), f"onnxruntime-web@{RUNTIME_VERSION}", AXE_CORE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def onnx_path(artifact: ArtifactOf) -> Path:
    return artifact("digits_cnn", "tf2onnx")


@pytest.fixture(scope="module")
def canvas(onnx_path: Path, digits: Digits) -> DigitCanvas:
    return digit_canvas(onnx_path, digits.test_images[:10])


@pytest.fixture(scope="module")
def python(onnx_path: Path) -> Iterator[OnnxRuntime]:
    with load_onnx(onnx_path) as runtime:
        yield runtime


OpenDemo = Callable[..., Demo]


@pytest.fixture(scope="module")
def open_demo(browser: Browser, canvas: DigitCanvas, packages: Path) -> Iterator[OpenDemo]:
    """Open the page in a browser session of its own; all are closed in the end."""
    contexts: list[BrowserContext] = []

    def open_demo(network: bool = True, width: int = 1280, **options: Any) -> Demo:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        requests: list[str] = []

        def reply(route: Route) -> None:
            requests.append(route.request.url)
            path = packages / "onnxruntime-web" / "dist" / route.request.url.split("/")[-1]
            if network and route.request.url == RUNTIME_URL + path.name and path.is_file():
                headers = {"access-control-allow-origin": "*", "content-type": TYPES[path.suffix]}
                route.fulfill(path=path, headers=headers)
            else:
                route.abort("internetdisconnected")

        context.route("**/*", reply)
        page = context.new_page()
        # A list of its own: Playwright reports from now on.
        demo = Demo(page, page.main_frame, requests)
        page.on("console", lambda message: demo.complaints.append(message.text))
        page.on("pageerror", lambda error: demo.complaints.append(str(error)))
        page.set_content(f"<!doctype html><html lang='en'>{canvas._repr_html_()}</html>")
        frame = page.query_selector("iframe").content_frame()
        frame.wait_for_function("window.classify !== undefined")
        demo.frame = frame
        return demo

    yield open_demo
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared(open_demo: OpenDemo) -> Demo:
    """One page for the tests that draw: each starts with a clear paper."""
    return open_demo()


@pytest.fixture
def demo(shared: Demo) -> Iterator[Demo]:
    shared.clear()
    yield shared
    assert shared.complaints == []


def ask_python(python: OnnxRuntime, levels: np.ndarray) -> np.ndarray:
    return python((levels.reshape(1, 8, 8, 1) / 16).astype(np.float32))[0]


def strokes_of(image: np.ndarray) -> list[list[Point]]:
    """Turn an image into strokes: one along each row of dark pixels."""
    strokes = []
    for row, dark in enumerate(image[..., 0] >= 0.5):
        edges = np.flatnonzero(np.diff([False, *dark, False]))
        for start, end in edges.reshape(-1, 2):
            places = [(column + 0.5, row + 0.5) for column in (start, end - 1)]
            strokes.append([(100 * x / 8, 100 * y / 8) for x, y in places])
    return strokes


# What the model answers


def test_the_browser_answers_like_python(demo: Demo, python: OnnxRuntime, digits: Digits) -> None:
    images = digits.test_images[:IMAGES]
    expected = python(images)
    levels = (images * 16).astype(int).reshape(IMAGES, 64).tolist()
    answers = np.array(
        demo.frame.evaluate("images => Promise.all(images.map(classify))", levels), np.float64
    )
    assert answers.shape == expected.shape == (100, 10)
    assert np.abs(answers - expected).max() < TOLERANCE
    assert np.array_equal(answers.argmax(axis=1), expected.argmax(axis=1))
    assert len(set(expected.argmax(axis=1))) == 10  # the comparison saw every class


@pytest.mark.parametrize("digit", range(10))
def test_a_drawn_test_image_is_read_as_in_python(
    demo: Demo, python: OnnxRuntime, digits: Digits, digit: int
) -> None:
    image = digits.test_images[np.flatnonzero(digits.test_labels == digit)[0]]
    demo.draw(strokes_of(image))
    levels = demo.levels()
    expected = ask_python(python, levels)
    assert np.abs(demo.answer() - expected).max() < TOLERANCE
    assert demo.status().startswith(f"The model reads {expected.argmax()} (")
    # The drawing reached the model upright and about as dark as the image it was made from.
    assert np.corrcoef(levels.ravel(), image.ravel())[0, 1] > 0.65
    assert 0.6 < levels.mean() / (16 * image.mean()) < 1.5


def test_digits_drawn_by_hand_are_read(demo: Demo) -> None:
    read = []
    for digit, strokes in HAND.items():
        demo.clear()
        demo.draw(strokes)
        read.append(demo.answer().argmax() == digit)
    assert sum(read) >= 8, read


def test_place_and_size_of_the_drawing_do_not_matter(demo: Demo) -> None:
    for strokes in (HAND[3], HAND[5]):
        demo.clear()
        demo.draw(strokes)
        large = demo.levels()
        demo.clear()
        demo.draw(strokes, scale=0.4, corner=(55, 50))
        assert np.abs(demo.levels() - large).mean() < 1


def test_a_point_stays_small(demo: Demo) -> None:
    demo.draw([[(20, 20), (20, 21)]])
    assert 0 < demo.levels().sum() < 64


def test_ink_is_counted_in_blocks(demo: Demo) -> None:
    bitmap = np.random.default_rng(0).integers(0, 2, (32, 32))
    bitmap[:4, :8] = 1
    expected = bitmap.reshape(8, 4, 8, 4).sum(axis=(1, 3))
    counted = demo.frame.evaluate("bitmap => countInk(bitmap)", bitmap.ravel().tolist())
    assert np.array_equal(np.reshape(counted, (8, 8)), expected)


# What the reader sees


def test_the_picture_is_what_the_model_gets(demo: Demo) -> None:
    demo.draw(HAND[2])
    rgba = demo.frame.evaluate(
        "[...document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    grey = np.reshape(rgba, (8, 8, 4))[..., 0]
    assert np.array_equal(grey, np.floor(255 * (1 - demo.levels() / 16) + 0.5))


def test_the_bars_show_the_probabilities(demo: Demo) -> None:
    demo.draw(HAND[8])
    shown = demo.frame.eval_on_selector_all(
        "#bars tr",
        "rows => rows.map(row => [row.innerText.trim().split(/\\s+/).at(-1),"
        " row.querySelector('.bar').style.width])",
    )
    for (text, width), probability in zip(shown, demo.answer(), strict=True):
        assert float(text.rstrip("%")) == pytest.approx(100 * probability, abs=0.051)
        assert float(width.rstrip("%")) == pytest.approx(100 * probability, abs=0.051)


def test_the_keyboard_is_enough(demo: Demo, python: OnnxRuntime, digits: Digits) -> None:
    clear = demo.frame.get_by_role("button", name="Clear")
    clear.focus()
    for _ in range(4):
        demo.page.keyboard.press("Tab")
    demo.page.keyboard.press("Enter")
    answer = demo.answer()
    assert np.array_equal(demo.levels(), digits.test_images[3, ..., 0] * 16)
    assert np.abs(answer - ask_python(python, demo.levels())).max() < TOLERANCE
    assert demo.status().startswith(f"The model reads {answer.argmax()} (")
    clear.press("Space")
    assert demo.levels().sum() == 0
    assert demo.status() == "Draw a digit"


def test_a_new_stroke_replaces_a_test_image(demo: Demo) -> None:
    demo.draw(HAND[1])
    drawn = demo.levels()
    demo.choose(10)
    assert not np.array_equal(demo.levels(), drawn)
    demo.draw(HAND[1])
    assert np.array_equal(demo.levels(), drawn)


def test_a_finger_draws(open_demo: OpenDemo) -> None:
    demo = open_demo(width=400, has_touch=True)
    box = demo.frame.locator("#paper").bounding_box()
    touch = demo.page.context.new_cdp_session(demo.page)

    def send(kind: str, *points: Point) -> None:
        places = [
            {"x": box["x"] + box["width"] * x / 100, "y": box["y"] + box["height"] * y / 100}
            for x, y in points
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        # A finger is slower than the screen. What comes between two frames may be merged.
        demo.frame.evaluate("new Promise(done => requestAnimationFrame(() => done(true)))")

    first, *others = HAND[3][0]
    send("touchStart", first)
    for point in others:
        send("touchMove", point)
    send("touchEnd")
    assert demo.answer().argmax() == 3
    assert demo.page.evaluate("scrollY") == 0
    assert demo.complaints == []


# The network


def test_nothing_is_loaded_before_the_first_image(open_demo: OpenDemo) -> None:
    demo = open_demo()
    assert "loads the runtime" in demo.status()
    assert demo.requests == []
    demo.choose(1)
    demo.answer()
    assert {url.removeprefix(RUNTIME_URL) for url in demo.requests} == {
        "ort.wasm.min.mjs",
        "ort-wasm-simd-threaded.mjs",
        "ort-wasm-simd-threaded.wasm",
    }


def test_the_runtime_waits_for_the_end_of_the_first_stroke(open_demo: OpenDemo) -> None:
    demo = open_demo()
    box = demo.frame.locator("#paper").bounding_box()
    demo.page.mouse.move(box["x"] + 20, box["y"] + 20)
    demo.page.mouse.down()
    demo.page.mouse.move(box["x"] + 20, box["y"] + 90, steps=5)
    demo.page.wait_for_timeout(200)
    assert demo.levels().sum() > 0
    assert demo.requests == []
    demo.page.mouse.up()
    demo.answer()
    assert demo.requests


def test_without_a_network_the_page_says_so(open_demo: OpenDemo) -> None:
    demo = open_demo(network=False)
    demo.choose(1)
    demo.frame.wait_for_selector("#status.trouble")
    message = demo.status()
    assert message.startswith("The runtime could not be loaded. It comes from cdn.jsdelivr.net")
    assert "needs a network" in message
    assert all("ERR_INTERNET_DISCONNECTED" in each for each in demo.complaints)


def test_a_runtime_that_arrives_in_part_is_the_network_too(open_demo: OpenDemo) -> None:
    demo = open_demo()
    demo.page.context.route("**/*.wasm", lambda route: route.abort("internetdisconnected"))
    demo.choose(1)
    demo.frame.wait_for_selector("#status.trouble")
    assert "needs a network" in demo.status()


# The frame


def test_the_frame_cannot_reach_the_notebook(demo: Demo) -> None:
    reached = demo.frame.evaluate(
        "() => { try { return parent.document.title } catch (error) { return error.name } }"
    )
    assert reached == "SecurityError"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_fits_and_is_accessible(
    open_demo: OpenDemo, packages: Path, width: int, scheme: str
) -> None:
    demo = open_demo(width=width, color_scheme=scheme)
    demo.choose(3)
    demo.answer()
    assert demo.page.evaluate("document.documentElement.scrollWidth") <= width
    content_width, frame_width, content_height, frame_height = demo.frame.evaluate(
        "['scrollWidth', 'clientWidth', 'scrollHeight', 'clientHeight']"
        ".map(name => document.documentElement[name])"
    )
    assert content_width <= frame_width
    assert content_height <= frame_height
    assert axe_violations(demo.frame, packages) == []


# The Python side


def test_the_model_is_inside_and_the_page_is_small(canvas: DigitCanvas, onnx_path: Path) -> None:
    assert base64.b64encode(onnx_path.read_bytes()).decode() in canvas.document
    assert len(canvas._repr_html_()) < 250_000
    assert RUNTIME_VERSION in RUNTIME_URL
    assert "{" not in repr(canvas)
    for placeholder in ("{style}", "{settings}", "{script}"):
        assert placeholder not in canvas.document


def test_the_text_is_the_same_on_every_machine(canvas: DigitCanvas) -> None:
    assert repr(canvas) == (
        "A page that runs digits_cnn-tf2onnx.onnx in the browser (draw a digit, see ten bars)"
    )


def test_a_name_cannot_become_a_program(onnx_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "<script>alert(1)<.onnx"
    path.write_bytes(onnx_path.read_bytes())
    page = digit_canvas(path)
    assert "alert(1)" in page.document
    assert "<script>alert" not in page.document + page._repr_html_()


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must take one float32 array"):
        digit_canvas(write_dense(tmp_path / "dense.onnx"))


def test_a_large_model_is_refused(onnx_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.lessons.digit_canvas.MAX_MODEL_BYTES", 1000)
    with pytest.raises(ArtifactError, match="a page inside a notebook takes 1,000"):
        digit_canvas(onnx_path)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (np.zeros((2, 8, 8)), "expected the shape"),
        (np.full((1, 8, 8, 1), 16.0), "expected values from 0"),
        (np.full((1, 8, 8, 1), np.nan), "expected values from 0"),
    ],
)
def test_wrong_examples_are_refused(onnx_path: Path, examples: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digit_canvas(onnx_path, examples)
