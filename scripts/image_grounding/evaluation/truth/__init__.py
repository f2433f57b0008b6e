# SPDX-License-Identifier: Apache-2.0
"""Ground truth in any of the public formats; a module each, chosen by name or by content."""

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from image_grounding.errors import InputError
from image_grounding.evaluation.model import Annotation
from image_grounding.evaluation.truth.coco import read_coco
from image_grounding.evaluation.truth.detect import detect_format, locate
from image_grounding.evaluation.truth.flickr30k import read_flickr30k
from image_grounding.evaluation.truth.odvg import read_odvg
from image_grounding.evaluation.truth.records import read_records
from image_grounding.evaluation.truth.refcoco import read_refcoco

_NOT_OF_THE_FORMAT = (
    LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError,
)  # fmt: skip

READERS: Mapping[str, Callable[[Path, Counter[str]], Iterator[Annotation]]] = {
    "coco": read_coco,
    "odvg": read_odvg,
    "refcoco": read_refcoco,
    "flickr30k": read_flickr30k,
    "records": read_records,
}

# What each format must hold for its phrases to be found; for messages and the documents.
NEEDS: Mapping[str, str] = {
    "coco": (
        "for every annotation a `phrase` as the captions have it, or `tokens_positive`, character "
        "spans in its image's `caption`, or a `category_id` whose name is the noun of expressions"
    ),
    "odvg": (
        "`grounding` with `caption` and `regions` (`phrase`, `bbox`, `tokens_positive` where "
        "known), or `referring` with `phrase`, or `detection` whose `category` is the noun of "
        "expressions"
    ),
    "refcoco": "`sentences` (`sent` or `raw`) worded as the expressions are, and instances.json",
    "flickr30k": "Sentences of the run's own captions, with their phrases marked, and Annotations",
    "records": (
        "`image_path`, `caption`, `width` and `height` of the upright image, and `expressions` "
        "with `text`, `char_span` where known, `instances`"
    ),
}


@dataclass(frozen=True)
class Truth:
    """Ground truth in memory.

    Attributes:
        path: where it is.
        format: a name of ``READERS``.
        annotations: in the order of the files.
        left_out: what was not read, by reason.
    """

    path: Path
    format: str
    annotations: tuple[Annotation, ...]
    left_out: Mapping[str, int]


def _problem(error: Exception) -> str:
    """In words what of a file is not of its format."""
    match error:
        case KeyError():
            return f"{error} is missing, or an id that nothing has"[:200]
        case RecursionError():
            return "it is nested too deep"
        case LookupError() | TypeError() | AttributeError() | ArithmeticError():
            return f"a value is of another kind than the format's ({error})"[:200]
    return str(error)[:200]


def read_truth(path: Path, name: str = "auto") -> Truth:
    """Read ground truth.

    Args:
        path: a file or a folder.
        name: a name of ``READERS``, or ``auto`` to go by the content.

    Raises:
        InputError: it is not there, not of that format, of no known format, or empty.
    """
    if not os.path.exists(path):
        raise InputError(f"no such truth: {path}")
    left_out: Counter[str] = Counter()
    try:
        path = locate(path)
        if name == "auto":
            name = detect_format(path)
        annotations = tuple(READERS[name](path, left_out))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        where = getattr(error, "filename", None) or path
        raise InputError(f"cannot read {where}: {reason}") from None
    except _NOT_OF_THE_FORMAT as error:
        raise InputError(f"{path} cannot be read as {name}: {_problem(error)}") from None
    if not any(annotation.phrases for annotation in annotations):
        raise InputError(f"{path}, read as {name}, has no phrase to evaluate against")
    return Truth(path, name, annotations, +left_out)
