"""Everything about one model and its artifacts in one table: is it right, and what does it cost?

``scorecard(model, {"name": "path", ...}, inputs)`` in Python, or
``python -m helpers.scorecard FILE...`` in a terminal.
"""

from helpers.formats import Traits, read_traits
from helpers.scorecard.build import scorecard
from helpers.scorecard.card import Scorecard, best_rows
from helpers.scorecard.figure import plot_scorecard

__all__ = [
    "Scorecard",
    "Traits",
    "best_rows",
    "plot_scorecard",
    "read_traits",
    "scorecard",
]
