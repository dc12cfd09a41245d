"""Learning curves of a fit."""

from ..train import read_json_lines
from ..viz import plot_learning
from ._context import FitContext

_BEYOND = 1e12
"""Nats of a training that explodes; no axis should hold them."""

_PANELS = {
    "free energy": {"free_energy_nats": "training", "validation_free_energy_nats": "validation"},
    "distortion": {"distortion_nats": "training"},
    "rate": {"rate_nats": "training"},
}


def show_training(context: FitContext, unit: str) -> None:
    """Draw the learning curves in nats of the data, if there are enough numbers."""
    lines = read_json_lines(context.folder / "metrics.jsonl")
    panels = {}
    for title, names in _PANELS.items():
        curves = {
            words: [
                (line["step"], line[name]) for line in lines if line.get(name) is not None and abs(line[name]) < _BEYOND
            ]
            for name, words in names.items()
        }
        curves = {words: points for words, points in curves.items() if points}
        if any(len(points) > 1 for points in curves.values()):
            panels[title] = curves
    if panels:
        context.figure(
            "training",
            plot_learning(panels, label=f"nats per {unit}"),
            caption=f"Free energy and its parts in nats of the data per {unit}, against the number of updates.",
        )
