# SPDX-License-Identifier: Apache-2.0
"""What the model wrote about a sample: the replies that a run keeps in its checkpoints."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from image_grounding.inspection.model import KeptReply
from image_grounding.results.checkpoints import CheckpointStore
from image_grounding.results.folder import ResultsFolder
from image_grounding.steps.table import all_steps

_MOST_CHARACTERS = 4_000  # of one reply
_MOST_REPLIES = 4  # of one step: the first answer and those to second asks
_MOST_TOGETHER = 2_000_000  # characters of all the replies in a page


def kept_replies(results: Path, sample_ids: Sequence[str]) -> list[tuple[KeptReply, ...]]:
    """For each sample the replies of each step, in order.

    There are none where the run kept none or they are unreadable.

    Args:
        results: a results folder, or a step's folder or a file in it.
        sample_ids: of the samples that go into one page; many get shorter texts.
    """
    steps = all_steps()
    share = _MOST_TOGETHER // (max(len(sample_ids), 1) * len(steps))  # of one step of one sample
    folder = next((p for p in (results, *results.parents[:2]) if _holds_steps(p)), results)
    stores = [ResultsFolder(folder).checkpoints(step) for step in steps]
    return [
        tuple(reply for store in stores for reply in _of_step(store, sample_id, share))
        for sample_id in sample_ids
    ]


def _of_step(store: CheckpointStore[Any], sample_id: str, share: int) -> Iterator[KeptReply]:
    texts = store.reply_texts(sample_id)[-_MOST_REPLIES:]
    most = min(_MOST_CHARACTERS, share // max(len(texts), 1))
    return (KeptReply(store.step.number, _cut(text, most)) for text in texts)


def _holds_steps(folder: Path) -> bool:
    return any((folder / step.folder_name).is_dir() for step in all_steps())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
