# SPDX-License-Identifier: Apache-2.0
"""The checks of the whole data set: what each means and what to do about it."""

from image_grounding.inspection.checks.convention import CONVENTION_CHECKS
from image_grounding.inspection.model import Check

NO_RECORDS = Check(
    "no_records",
    "There is no record to judge.",
    "Look at failures.jsonl; check_endpoint.py says whether the endpoint can do the work.",
    dataset=True,
)
NO_EXPRESSIONS = Check(
    "no_expressions_at_all",
    "No caption gave an expression.",
    "Look at the captions. If they name things: a stronger model for step 0.",
    dataset=True,
)
NO_BOXES = Check(
    "no_boxes_at_all",
    "No expression has a box.",
    "See whether the things are in the pictures. If they are: check_endpoint.py tells whether the "
    "model sees at all, and whether its boxes can be read.",
    dataset=True,
)
INCOMPLETE = Check(
    "incomplete",
    "The run is not finished.",
    "Run the same command again, once no run is at work (status.py): only what is missing is "
    "asked for.",
    dataset=True,
)
FAILED_SHARE = Check(
    "failed_share",
    "Many samples failed.",
    "Look at the reasons in failures.jsonl, mend the most frequent one and run again: only what "
    "is missing is asked for.",
    dataset=True,
)
UNGROUNDED_SHARE = Check(
    "ungrounded_share",
    "Many expressions have no box.",
    "See whether the things are in the pictures. If they are: a stronger model, a higher "
    "resolution (vlm.image.max_pixels). check_endpoint.py tells whether the model sees at all.",
    dataset=True,
)
ONE_SCORE = Check(
    "one_score",
    "Nearly all boxes have the same score, so that scores tell nothing.",
    "Do not filter by score (export's --min-score); precision comes from a review.",
    dataset=True,
)
WIDESPREAD_FLAG = Check(
    "widespread_flag",
    "One and the same flag is on a large share of the records.",
    "Look at some with --only FLAG; the flag's own remedy says more.",
    dataset=True,
)
EMBEDDED_ANNOTATOR = Check(
    "embedded_annotator",
    "The embedded annotator made these boxes: they show the workflow, and train nothing.",
    "Run with a vision-language model: setup_wizard.py writes the spec.",
    dataset=True,
)
UNMEASURED_CONVENTION = Check(
    "unmeasured_convention",
    "The spec names the box convention, so that nobody has measured it: where it is wrong, every "
    "box is.",
    "Set vlm.coordinates to auto, or see what check_endpoint.py measures.",
    dataset=True,
)
MIXED_CONVENTIONS = Check(
    "mixed_conventions",
    "The boxes of some samples were read in another convention than the others: one part is wrong.",
    "Run again with workflow.reread=true: it derives them anew from the kept replies. What another "
    "server answered, whose convention was measured, stays as it is.",
    dataset=True,
)
COARSE_BOXES = Check(
    "coarse_boxes",
    "The convention was measured, but boxes of flat rectangles fit it badly.",
    "The model boxes coarsely, or writes a convention that is not known here: look at the "
    "pictures of check_endpoint.py --save-probe, and take a stronger model.",
    dataset=True,
)
CHECKS_NOT_MADE = Check(
    "checks_not_made",
    "There are too few boxes to prove a wrong convention.",
    "Look at the boxes on their pictures, or take a larger pilot.",
    dataset=True,
)
DATASET_CHECKS = (
    NO_RECORDS,
    NO_EXPRESSIONS,
    NO_BOXES,
    INCOMPLETE,
    FAILED_SHARE,
    UNGROUNDED_SHARE,
    ONE_SCORE,
    *CONVENTION_CHECKS,
    EMBEDDED_ANNOTATOR,
    UNMEASURED_CONVENTION,
    MIXED_CONVENTIONS,
    COARSE_BOXES,
    WIDESPREAD_FLAG,
    CHECKS_NOT_MADE,
)
