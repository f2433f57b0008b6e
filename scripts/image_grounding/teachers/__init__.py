# SPDX-License-Identifier: Apache-2.0
"""Teachers: what finds referring expressions in captions and their boxes in images."""

from collections.abc import Callable

from image_grounding.environment import extra_needed
from image_grounding.errors import SpecError
from image_grounding.results.folder import ResultsFolder
from image_grounding.spec import Spec
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.teachers.base import Teacher, Traffic

__all__ = ["Teacher", "Traffic", "make_teacher"]


def make_teacher(spec: Spec, say: Callable[[str], None]) -> Teacher:
    """The teacher that a spec names.

    Raises:
        SpecError: the embedded annotator's packages are not installed.
    """
    if capabilities_of(spec.vlm.backend).needs_endpoint:
        from image_grounding.teachers.vlm import VlmTeacher

        return VlmTeacher(spec, ResultsFolder(spec.results_dir), say)
    try:
        from image_grounding.teachers.local.teacher import LocalTeacher
    except ImportError:
        raise SpecError(extra_needed("backend local", "local")) from None
    return LocalTeacher(spec.vlm.local)
