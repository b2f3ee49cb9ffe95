"""The words that the two sides of a measuring process share: a request each, and its reply.

The manager's side asks (`helpers.costs.opened`), the worker's side answers
(`helpers.costs.worker`). Arrays do not go through the pipe: a message names the file that holds
them, see `helpers.costs.arrays`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Open:
    """Open an artifact.

    Attributes:
        kind: as `identify` says.
        path: of the artifact.
        options: of its loader.
        threads: that the runtime may use; None keeps its default.
        imports: modules to import first.
        folders: where the manager's side finds modules.
        alone: import the framework without what it only takes along; see `import_alone`.
    """

    kind: str
    path: str
    options: Mapping[str, Any]
    threads: int | None
    imports: list[str]
    folders: list[str]
    alone: bool = False


@dataclass(frozen=True)
class Opened:
    """The artifact is open. `inputs` and `outputs` hold name, shape and dtype of each tensor."""

    runtime: str
    inputs: list[list[Any]]
    outputs: list[list[Any]]
    import_ms: float
    load_ms: float


@dataclass(frozen=True)
class Answer:
    """Answer once to the arrays in a file, and write the outputs, in order, to another."""

    arrays: str
    answers: str


@dataclass(frozen=True)
class Answered:
    """How long the call took, and the largest memory so far (None where it is unknown)."""

    call_ms: float
    peak_rss_mib: float | None


@dataclass(frozen=True)
class WarmUp:
    """Get ready to be timed with batches of the rows in a file, on `threads` processors."""

    arrays: str
    batch_sizes: list[int]
    threads: int


@dataclass(frozen=True)
class Warm:
    """Ready. `failures` holds what went wrong by batch size; `floor_ns` is an empty call."""

    failures: Mapping[str, str]
    floor_ns: float


@dataclass(frozen=True)
class Visit:
    """Time calls with one batch size, until the time or the number of calls is used up."""

    batch_size: int
    seconds: float
    max_calls: int


@dataclass(frozen=True)
class Visited:
    """Nanoseconds of each call; of the visit, the time of all processors and of the clock."""

    nanoseconds: list[int]
    cpu_ns: int
    wall_ns: int


@dataclass(frozen=True)
class Weigh:
    """Read what the artifact on disk holds and what it needs; it need not be open."""

    path: str


@dataclass(frozen=True)
class Weighed:
    """The fields of `ArtifactSize` and `Traits`, as they go through JSON."""

    size: Mapping[str, Any]
    traits: Mapping[str, bool]


@dataclass(frozen=True)
class RunGolden:
    """Run the float64 copy of an open model on the arrays in a file, and try the probe.

    Of a model that is no Keras model, only the probe is tried.
    """

    arrays: str
    answers: str


@dataclass(frozen=True)
class Golden:
    """What came of it.

    Attributes:
        answers: whether the outputs were written.
        proves: whether a fault can show in the probe.
        note: what a reader must know.
        float32_layers: those that did not compute in float64, by output; see `GoldenArray`.
        names_by_layer: the layers that the outputs come from.
    """

    answers: bool
    proves: bool
    note: str | None
    float32_layers: Mapping[str, list[str]]
    names_by_layer: Mapping[str, str]


@dataclass(frozen=True)
class FindSpread:
    """Measure how last bits move the answers to the arrays in a file, `size` rows in a call."""

    arrays: str
    answers: str
    size: int


@dataclass(frozen=True)
class Spread:
    """It was written."""


DOUBT = "doubt of "
"""Before the name of an output, in the file of a golden run: see `GoldenArray`."""

Request = Open | Answer | WarmUp | Visit | Weigh | RunGolden | FindSpread

REPLIES: Mapping[type[Any], type[Any]] = {
    Open: Opened,
    Answer: Answered,
    WarmUp: Warm,
    Visit: Visited,
    Weigh: Weighed,
    RunGolden: Golden,
    FindSpread: Spread,
}
REQUESTS = {request.__name__: request for request in REPLIES}


def to_json(request: Request) -> dict[str, Any]:
    """Write a request down, with its name."""
    return {"ask": type(request).__name__, **asdict(request)}


def request_from(content: dict[str, Any]) -> Request:
    """Read what `to_json` wrote."""
    return REQUESTS[content.pop("ask")](**content)
