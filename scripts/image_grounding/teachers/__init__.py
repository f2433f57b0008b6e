# SPDX-License-Identifier: Apache-2.0
"""Teachers: they find referring expressions in a caption and their boxes in the image."""

from collections.abc import Callable

from image_grounding.environment import extra_needed
from image_grounding.errors import SpecError
from image_grounding.spec import Spec
from image_grounding.teachers.base import Teacher

__all__ = ["Teacher", "make_teacher"]


def make_teacher(spec: Spec, say: Callable[[str], None]) -> Teacher:
    """The teacher that a spec names.

    Raises:
        SpecError: the embedded annotator's packages are not installed.
        KeyRefusedError: the backend needs a key and there is none.
    """
    if spec.vlm.backend == "local":
        try:
            from image_grounding.teachers.local.teacher import LocalTeacher
        except ImportError:
            raise SpecError(extra_needed("backend local", "local")) from None
        return LocalTeacher(spec.vlm.local)
    from image_grounding.asking import make_asker
    from image_grounding.teachers.vlm import VlmTeacher

    return VlmTeacher(make_asker(spec, say), spec, say)
