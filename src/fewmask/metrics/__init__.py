"""How good a segmentation is: overlap and surface metrics whose names carry their definition."""

from fewmask.metrics.evaluate import evaluate
from fewmask.metrics.evaluation import Evaluation, Row
from fewmask.metrics.row_set import row_set_distance
from fewmask.metrics.score import DEFINITIONS, Score, metric_names, score, score_labels, score_pair

__all__ = [
    "DEFINITIONS",
    "Evaluation",
    "Row",
    "Score",
    "evaluate",
    "metric_names",
    "row_set_distance",
    "score",
    "score_labels",
    "score_pair",
]
