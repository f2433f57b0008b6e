# SPDX-License-Identifier: Apache-2.0
"""Step 0 for several captions of one picture: one question for theirs, and of its reply each part.

A part is written as an ordinary reply, which step 0 reads and keeps. What is in any doubt is no
part: that caption is asked about alone, so that none gets another one's expressions.
"""

import re
from collections.abc import Sequence

from image_grounding.files import to_json
from image_grounding.replies import ExtractionReply, read_extractions
from image_grounding.steps.prompts import captions_prompt, captions_schema
from image_grounding.steps.question import Question, Reply


def question_for(questions: Sequence[Question]) -> Question:
    """One question in place of several about captions of the same picture."""
    captions, picture = captions_of(questions), questions[0].picture
    return Question(
        captions_prompt(captions, with_image=picture is not None),
        picture,
        captions_schema(),
        subject={"captions": captions},
    )


def captions_of(questions: Sequence[Question]) -> list[str]:
    """What questions of step 0 are about."""
    return [question.subject["caption"] for question in questions]


def parts_of(reply: Reply, captions: Sequence[str]) -> list[Reply | None]:
    """What a reply gives for each caption; None where that is missing, cut or in doubt."""
    found = {
        place: part
        for place, part in read_extractions(reply.text).items()
        if 0 <= place < len(captions)
    }
    written = [_words(caption) for caption in captions]
    doubtful = {
        doubted for place, part in found.items() for doubted in _doubted(part, place, written)
    }
    return [
        None if place in doubtful or place not in found else Reply(_as_reply(found[place]))
        for place in range(len(captions))
    ]


def _doubted(part: ExtractionReply, place: int, captions: Sequence[str]) -> set[int]:
    """The captions that a part puts in doubt.

    Args:
        part: what the reply gives for a caption.
        place: of that caption.
        captions: the words of all.
    """
    cleaned = _words(part.cleaned_caption or "")
    texts = [_words(raw.text) for raw in part.expressions]
    if cleaned not in captions[place] or not all(text in cleaned for text in texts):
        # Those that it may belong to may have lost theirs to this one.
        strays = texts if cleaned in captions[place] else [cleaned]
        return {place, *_holders(strays, captions)}
    return {place} if not texts or _holders([cleaned], captions) != {place} else set()


def _holders(texts: Sequence[str], captions: Sequence[str]) -> set[int]:
    """The captions that hold all of ``texts``."""
    return {
        index for index, caption in enumerate(captions) if all(text in caption for text in texts)
    }


def _words(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _as_reply(part: ExtractionReply) -> str:
    expressions = [
        {"text": raw.text, "noun_chunk": raw.noun_chunk}
        | ({"char_span": list(raw.hint)} if raw.hint else {})
        for raw in part.expressions
    ]
    return to_json({"cleaned_caption": part.cleaned_caption, "expressions": expressions})
