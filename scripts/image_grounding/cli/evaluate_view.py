# SPDX-License-Identifier: Apache-2.0
"""What ``evaluate.py`` shows on stderr."""

from rich.console import Console
from rich.table import Table

from image_grounding.evaluation.evaluate import Evaluation


def evaluation_table(evaluation: Evaluation) -> Table:
    """A row a metric."""
    table = Table("metric", "value", "95 % interval")
    for name, figure in evaluation.metrics.items():
        value = "not defined" if figure.value is None else f"{figure.value:.3f}"
        bounds = figure.interval
        table.add_row(name, value, f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "")
    return table


def show_evaluation(evaluation: Evaluation) -> None:
    """Print the metrics and the counts."""
    console = Console(stderr=True)
    console.print(evaluation_table(evaluation))
    table = Table("count", "")
    for name, count in evaluation.counts.items():
        if count:
            table.add_row(name.replace("_", " "), str(count))
    console.print(table)
