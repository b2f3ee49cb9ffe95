"""Run with ``python -m``: checks artifacts in a process that ends before anything is measured."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from helpers.workers.channel import Channel, die_with_parent, find_modules


def main() -> None:
    """Read the task that `helpers.scorecard.check` wrote, and write what was found beside it."""
    die_with_parent()
    channel = Channel()
    folder = Path(channel.receive()["folder"])
    try:
        folders, task = pickle.loads((folder / "task.pickle").read_bytes())
        find_modules(folders)
        _import_keras_alone()
        from helpers.scorecard.check import check_artifacts

        (folder / "found.pickle").write_bytes(pickle.dumps(check_artifacts(*task)))
        channel.reply({})
    except Exception as error:  # whatever a runtime raises goes to the parent
        channel.reply_error(error)


def _import_keras_alone() -> None:
    """Import Keras without scikit-learn, which it takes along for wrappers that no artifact needs.

    This process exists where memory is scarce, and scikit-learn with SciPy is 40 MB. Only this
    import goes without it: the caller's own modules can import it afterwards.
    """
    sys.modules["sklearn"] = None
    import keras  # noqa: F401

    del sys.modules["sklearn"]


if __name__ == "__main__":
    main()
