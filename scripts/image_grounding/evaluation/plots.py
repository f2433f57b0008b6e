# SPDX-License-Identifier: Apache-2.0
"""The reliability diagram and the histogram of IoU, as PNG by matplotlib (extra ``plots``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_grounding.evaluation.metrics import IOU

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's blue and vermilion, apart for colour-blind eyes and in grey.
_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "#666666"


def save_reliability(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot the share of right boxes by score, each bar with its boxes; raises ImportError."""
    figure, axes = _canvas()
    axes.plot([0, 1], [0, 1], linestyle="--", color=_GREY, label="perfectly calibrated")
    filled = [row for row in rows if row["boxes"]]
    axes.bar(
        [row["low"] for row in filled],
        [row["share_right"] for row in filled],
        width=[row["high"] - row["low"] for row in filled],
        align="edge",
        color=_BLUE,
        edgecolor="white",
        label=f"share of right boxes (IoU from {IOU} on)",
    )
    axes.plot(
        [row["mean_score"] for row in filled],
        [row["share_right"] for row in filled],
        "o",
        color=_RED,
        label="at the bin's mean score",
    )
    for row in filled:
        middle = (row["low"] + row["high"]) / 2
        axes.annotate(
            str(row["boxes"]), (middle, row["share_right"]), ha="center", va="bottom",
            xytext=(0, 5), textcoords="offset points", fontsize=8,
        )  # fmt: skip
    if not filled:
        axes.text(0.5, 0.5, "no box has a score", ha="center")
    axes.set(xlim=(0, 1), ylim=(0, 1.1), xlabel="score", ylabel="share of right boxes")
    axes.set_title(f"Reliability of scores ({sum(row['boxes'] for row in rows)} boxes)")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path)


def save_iou_histogram(counts: Sequence[int], path: Path) -> None:
    """Plot how many phrases have which IoU of their best box; raises ImportError."""
    figure, axes = _canvas()
    width = 1 / len(counts)
    lows = [index * width for index in range(len(counts))]
    colours = [_BLUE if low >= IOU - width / 2 else _RED for low in lows]
    axes.bar(lows, counts, width=width, align="edge", color=colours, edgecolor="white")
    axes.axvline(IOU, linestyle="--", color=_GREY)
    axes.set(xlim=(0, 1), xlabel="IoU of the best box with the truth", ylabel="phrases")
    axes.set_title(f"Overlap of {sum(counts)} phrases that were matched")
    figure.savefig(path)


def _canvas() -> "tuple[Figure, Axes]":
    # No pyplot: it looks for a display and keeps figures.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes
