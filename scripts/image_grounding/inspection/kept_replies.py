# SPDX-License-Identifier: Apache-2.0
"""What the model wrote about a sample: the replies that a run keeps in its checkpoints."""

from pathlib import Path

from image_grounding.inspection.model import KeptReply
from image_grounding.results.folder import ResultsFolder
from image_grounding.steps.table import all_steps

_MOST_CHARACTERS = 4_000  # of one reply
_MOST_REPLIES = 4  # of one step: the first answer and those to second asks
_MOST_TOGETHER = 2_000_000  # characters of all the replies in a page


def kept_replies(results: Path, sample_id: str, cards: int) -> tuple[KeptReply, ...]:
    """The replies of each step, in order; none where the run kept none or they are unreadable.

    Args:
        results: a results folder, or a step's folder or a file in it.
        sample_id: as in the record.
        cards: of how many samples the replies go into one page; many get shorter texts.
    """
    if Path(sample_id).name != sample_id:  # a record of another tool may hold anything
        return ()
    share = _MOST_TOGETHER // (max(cards, 1) * len(all_steps()))  # of one step of one sample
    folder = next((p for p in (results, *results.parents[:2]) if _holds_steps(p)), results)
    replies: list[KeptReply] = []
    for step in all_steps():
        kept = ResultsFolder(folder).checkpoints(step).reply_texts(sample_id)
        texts = kept[-_MOST_REPLIES:]
        most = min(_MOST_CHARACTERS, share // max(len(texts), 1))
        replies += (KeptReply(step.number, _cut(text, most)) for text in texts)
    return tuple(replies)


def _holds_steps(folder: Path) -> bool:
    return any((folder / step.folder_name).is_dir() for step in all_steps())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
