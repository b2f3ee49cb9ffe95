"""A line that shows how far a long measurement is, and disappears with it."""

from __future__ import annotations

import sys
import time
from typing import Any

REDRAW_S = 0.25


class Progress:
    """A line on the terminal, or in a notebook that someone is looking at. Use it in a ``with``.

    Nothing is shown where nobody watches: with stderr in a file, and in notebooks that a program
    executes (nbconvert, nbclient, nbval), so that stored outputs stay as they were. In a live
    notebook the line is removed at the end, with what the same cell has shown before.

    Args:
        enabled: False shows nothing at all.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._terminal = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._live = enabled and not self._terminal and _in_live_notebook()
        self._display: Any = None
        self._drawn_at = 0.0

    def show(self, text: str, share: float | None = None) -> None:
        """Replace the line, at most four times a second.

        Args:
            text: what is being done.
            share: how much is done, from 0 to 1, when that is known.
        """
        if not (self._terminal or self._live) or time.monotonic() - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = time.monotonic()
        line = text if share is None else f"{share:4.0%}  {text}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{line[:78]}")
            sys.stderr.flush()
            return
        from IPython.display import display

        data = {"text/plain": line}
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal and self._drawn_at:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        if self._display is not None:
            from IPython.display import clear_output

            clear_output()


def _in_live_notebook() -> bool:
    """Tell whether a person runs this cell: then the front end can also answer ``input()``."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    message = kernel.get_parent("shell")
    return bool(message.get("content", {}).get("allow_stdin", False))
