# SPDX-License-Identifier: Apache-2.0
"""Sentences about what makes an export doubtful, whatever its format."""

from image_grounding.exports.counts import PartCounts, ReadCounts
from image_grounding.results.reading import Results


def export_caveats(
    results: Results, min_score: float | None, counts: ReadCounts, by_part: dict[str, PartCounts]
) -> list[str]:
    """Sentences for the dataset card and the user."""
    found = []
    if left := results.unfinished():
        found.append(f"incomplete: {left}")
    if min_score is not None and counts.scored_boxes > 1 and len(counts.scores) == 1:
        (score,) = counts.scores
        found.append(
            f"all {counts.scored_boxes} scores are {score:g}: --min-score {min_score:g} cannot "
            "tell good boxes from bad ones by them"
        )
    if turned := counts.turned_images:
        found.append(
            f"{turned} images are stored turned (EXIF), and boxes are of the upright pictures: "
            "Open-GroundingDINO, torchvision and ms-swift read them as they are stored. "
            "--copy-images writes upright copies"
        )
    found += [
        f"the part {part} is empty: there are too few images"
        for part, held in by_part.items()
        if not held.images
    ]
    return found
