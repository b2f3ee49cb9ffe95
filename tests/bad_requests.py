"""Requests that are wrong in many ways, made from a seed: each is what goes over the wire."""

from __future__ import annotations

import copy
import json
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PATH = "/v1/models/sums:predict"
GOOD = {"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 256, 1.5, 1e400, float("nan"), 10**30, "a", "", "\ud800", [], {}, [[]],
    {"b64": "AA=="}, {"b64": 1}, {"images": 1},
)  # fmt: skip
KEYS = ("instances", "inputs", "signature_name", "images", "b64", "")
TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
         "application/jsonp", "text/json", ";", "")  # fmt: skip
HOSTS = ("example.com", "127.0.0.1.example.com", "192.0.2.1:80", "localhost.", "[::2]", "", "a b",
         "127.0.0.1@example.com", "0.0.0.0")  # fmt: skip


@dataclass(frozen=True)
class BadRequest:
    """One request.

    Attributes:
        kind: in which way it is wrong.
        content: all bytes that are sent.
        framed: it is HTTP, and whole: then it must get an answer.
    """

    kind: str
    content: bytes
    framed: bool = True


def request(
    body: bytes,
    method: str = "POST",
    path: str = PATH,
    host: str = "127.0.0.1",
    content_type: str | None = "application/json",
    extra: str = "",
) -> bytes:
    """Write a request that closes its connection."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {content_type}"] if content_type is not None else []
    lines += [extra] if extra else []
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def odd_content(dice: random.Random) -> Any:
    """Change a good request in one to three places."""
    content: Any = copy.deepcopy(GOOD)
    for _ in range(dice.randint(1, 3)):
        path, part = [], content
        while isinstance(part, dict | list) and part and dice.random() < 0.75:
            key = dice.choice(list(part)) if isinstance(part, dict) else dice.randrange(len(part))
            path, parent, part = [*path, key], part, part[key]
        odd = copy.deepcopy(dice.choice(ODD_VALUES))
        if dice.random() < 0.2:
            for _ in range(dice.choice((1, 5, 63, 64, 65, 300, 900))):
                odd = [odd] if dice.random() < 0.9 else {dice.choice(KEYS): odd}
        if not path:
            content = (
                odd if dice.random() < 0.3 else {**copy.deepcopy(GOOD), dice.choice(KEYS): odd}
            )
        elif isinstance(parent, dict) and dice.random() < 0.5:
            parent[dice.choice(KEYS)] = parent.pop(path[-1])
        else:
            parent[path[-1]] = odd
        if not isinstance(content, dict | list):
            break
    return content


def damaged(body: bytes, dice: random.Random) -> bytes:
    """Cut bytes off, change some, or repeat them."""
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(body) + 1)
        end = min(len(body), start + dice.randint(0, 8))
        new = bytes(dice.choices(b'[]{}",:-0123456789eE.\\u\xff\x00 ', k=dice.randint(0, 8)))
        body = body[:start] + new + body[end:]
    return body


def bad_requests(seed: int, count: int) -> Iterator[BadRequest]:
    """Make requests; a few of them turn out to be right, for instance with a changed number."""
    dice = random.Random(seed)
    good = json.dumps(GOOD).encode()
    for _ in range(count):
        kind = dice.choice(("content", "content", "content", "bytes", "bytes", "target", "host",
                            "type", "method", "framing", "unfinished", "size"))  # fmt: skip
        if kind == "content":
            yield BadRequest(kind, request(json.dumps(odd_content(dice)).encode()))
        elif kind == "bytes":
            yield BadRequest(kind, request(damaged(good, dice)))
        elif kind == "target":
            path = damaged(PATH.encode(), dice)
            path = "/" + "".join(chr(each) for each in path if 32 < each < 127)
            yield BadRequest(kind, request(good, path=path, method=dice.choice(("POST", "GET"))))
        elif kind == "host":
            method = dice.choice(("POST", "GET"))
            path = PATH if method == "POST" else "/v1/models/sums"
            body = good if method == "POST" else b""
            yield BadRequest(kind, request(body, method, path, host=dice.choice(HOSTS)))
        elif kind == "type":
            yield BadRequest(kind, request(good, content_type=dice.choice(TYPES)))
        elif kind == "method":
            method = dice.choice(("PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "NONE"))
            yield BadRequest(kind, request(good, method))
        elif kind == "framing":
            whole = request(good, extra=dice.choice(("Transfer-Encoding: chunked", "X: y")))
            yield BadRequest(kind, damaged(whole[:200], dice) + whole[200:], framed=False)
        elif kind == "unfinished":
            whole = request(good)
            yield BadRequest(kind, whole[: dice.randrange(len(whole))], framed=False)
        else:
            length = dice.choice((210_000, 500_000, 10**9))
            yield BadRequest(
                kind, request(b" " * min(length, 500_000)).replace(b": 500000", b": %d" % length),
                framed=length < 10**9,
            )  # fmt: skip


def status_of(port: int, bad: BadRequest, timeout_s: float = 30.0) -> int | None:
    """Send bytes to a server of this machine; return the status, or None without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            connection.sendall(bad.content)
            if not bad.framed:
                connection.shutdown(socket.SHUT_WR)  # else both would wait for each other
        except OSError:
            pass  # the server has refused it already
        try:
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        except ConnectionError:
            pass
    start = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(start[1]) if start[0].startswith(b"HTTP/") else None
