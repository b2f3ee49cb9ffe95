"""Model construction and comparison for the three lessons on deploying Keras models.

`ROOMS` is the map: each room imports only from rooms before it. Import the module that you need
(``from helpers.parity import check_parity``). This file imports none of them, so that opening an
ONNX file never loads TensorFlow.
"""

import os

# ONNX Runtime 1.32 for Linux asks for a host of its maker about nine seconds after its import, and
# leaves an identifier below the home folder. It reads this variable once, while it is imported, and
# every module of helpers imports this file before it. Processes started from here inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

ROOMS = {
    "imports": "importing a heavy framework",
    "tables": "numbers in words",
    "progress": "how far a long measurement is",
    "formats": "WHAT IS IT? one module for each kind of artifact",
    "parity": "IS IT RIGHT?",
    "costs": "WHAT DOES IT COST? one process for one artifact",
    "serving": "DOES IT ANSWER? the contract of TensorFlow Serving",
    "plots": "the figures of comparisons, in one style",
    "scorecard": "THE TABLE, and the command line",
    "lessons": "THE COURSE: data, models, figures, exercises",
}
"""Every room in order, and its question."""
