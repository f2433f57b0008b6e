# SPDX-License-Identifier: Apache-2.0
"""Plots as PNG files, where matplotlib is installed."""

from pathlib import Path

from image_grounding.errors import OutputError
from image_grounding.evaluation.calibration import BINS
from image_grounding.evaluation.evaluate import Evaluation

_INCHES = (5.0, 4.0)


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path] | None:
    """The reliability diagram and the histogram of IoUs; None without matplotlib.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    reliability = Figure(figsize=_INCHES, layout="constrained")
    axes = reliability.subplots()
    bins = [one for one in evaluation.reliability.as_json() if one["boxes"]]
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="calibrated")
    axes.bar(
        [one["from"] for one in bins], [one["accuracy"] for one in bins],
        width=1 / BINS, align="edge", edgecolor="white", color="#0072b2", label="boxes",
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="share right at IoU 0.5")
    ece = evaluation.figures["ece"]
    axes.set_title("Reliability" + ("" if ece is None else f" (ECE {ece:.3f})"))
    axes.legend(loc="upper left")

    histogram = Figure(figsize=_INCHES, layout="constrained")
    axes = histogram.subplots()
    axes.hist(evaluation.ious, bins=20, range=(0, 1), color="#0072b2", edgecolor="white")
    axes.axvline(0.5, linestyle="--", color="grey")
    axes.set(xlim=(0, 1), xlabel="IoU of the top-1 box", ylabel="matched phrases", title="Overlap")

    paths = []
    for name, figure in (("reliability.png", reliability), ("iou.png", histogram)):
        path = folder / name
        try:
            figure.savefig(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        paths.append(path)
    return paths
