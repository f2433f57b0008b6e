# SPDX-License-Identifier: Apache-2.0
"""The two steps and their names in folders, records and specs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """A step of the pipeline.

    Attributes:
        number: its name in ``workflow.steps``.
        tag: its name in a record's ``pipeline_steps``.
        folder_name: its folder in results_dir.
    """

    number: str
    tag: str
    folder_name: str

    def folder(self, results_dir: Path) -> Path:
        """Where its outputs are."""
        return results_dir / self.folder_name


EXTRACTION = Step("0", "step0_expression_extraction", "step_0_expression_extraction")
GROUNDING = Step("1", "step1_grounding", "step_1_grounding")
STEPS = (EXTRACTION, GROUNDING)
