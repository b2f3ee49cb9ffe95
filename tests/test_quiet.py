"""What C++ writes during an import is hidden, unless the import fails."""

from __future__ import annotations

from conftest import RunPython

HIDDEN = """
import os, sys
from helpers.imports import quiet_import
os.write(2, b"before;")
with quiet_import():
    os.write(2, b"hidden;")
    print("hidden too", file=sys.stderr)
os.write(2, b"after")
"""

LOGGED = """
import io, logging, sys
from helpers.imports import quiet_import
sys.stderr = notebook = io.StringIO()  # a notebook shows what is written here
with quiet_import():
    logging.getLogger("matplotlib").warning("the home folder cannot be written")
logging.getLogger("matplotlib").warning("afterwards")
print(notebook.getvalue(), end="")
"""

REPLAYED = """
import os, sys
from helpers.imports import quiet_import
try:
    with quiet_import():
        os.write(2, b"x" * 200_000 + b"from C++;")
        sys.stderr.write("from Python, no new line;")
        raise ImportError("no module")
except ImportError as error:
    sys.stderr.write(str(error))
"""

LEAKS = """
import os
from helpers.imports import quiet_import
before = len(os.listdir("/proc/self/fd"))
for _ in range(5):
    with quiet_import():
        pass
print(len(os.listdir("/proc/self/fd")) - before)
"""

TENSORFLOW = """
from helpers.imports import quiet_import
with quiet_import():
    import tensorflow as tf
print(tf.constant([1.0]).numpy() + 1)
"""


def test_stderr_is_hidden_then_restored(run_python: RunPython) -> None:
    assert run_python(HIDDEN).stderr == "before;after"


def test_a_warning_that_is_logged_meanwhile_is_hidden_in_a_notebook_too(
    run_python: RunPython,
) -> None:
    assert run_python(LOGGED).stdout == "afterwards\n"


def test_everything_is_written_out_when_the_import_fails(run_python: RunPython) -> None:
    stderr = run_python(REPLAYED).stderr
    assert stderr == "x" * 200_000 + "from C++;from Python, no new line;no module"


def test_no_descriptor_is_left_open(run_python: RunPython) -> None:
    assert run_python(LEAKS).stdout.strip() == "0"


def test_tensorflow_is_imported_without_a_word(run_python: RunPython) -> None:
    result = run_python(TENSORFLOW)
    assert (result.stdout.strip(), result.stderr) == ("[2.]", "")
