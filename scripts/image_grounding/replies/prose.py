# SPDX-License-Identifier: Apache-2.0
"""What a model says around its boxes: that it refuses, corrects itself, or does not see a thing."""

import re
from collections.abc import Iterator
from typing import Any

from image_grounding.replies.asked import Asked
from image_grounding.replies.numbers import says_none
from image_grounding.replies.phrases import folded, place_of, word_set, words_of
from image_grounding.replies.text import lowered

# It will not or can not do the work; seeing nothing of a thing is another matter.
_REFUSAL = re.compile(
    r"(?:\b(?:can(?:no|')?t|can not|could not|couldn't|unable to|not able to|won't|will not|"
    r"not allowed to|not permitted to|not comfortable|decline to|refuse to|must decline)\b"
    r"[^.!?\n]{0,40}?\b(?:assist|help|comply|identify|recogni[sz]e|provide|process|analy[sz]e|view|"
    r"access|open|load|fulfil?l?|continue|generate|complete|respond|answer|do that|do this|"
    r"(?:see|find|receive) (?:the |an |any |your |that )?(?:image|picture|photo|attachment))\b)"
    r"|\bas an ai\b|\bcontent policy\b|\bagainst (?:my|the) (?:guidelines|polic)"
    r"|\bsafety guidelines\b"
    r"|\bno (?:image|picture|photo)s? (?:was |were |is |has been |provided|attached|given)"
    r"|\b(?:image|picture|photo) (?:is|was|has) (?:not |n't )(?:been )?"
    r"(?:provided|attached|loaded|uploaded)"
    r"|\bplease (?:provide|upload|attach|share)\b|\bi must decline\b"
    r"|\u62b1\u6b49|\u5bf9\u4e0d\u8d77|\u65e0\u6cd5(?:\u63d0\u4f9b|\u534f\u52a9|\u5e2e\u52a9|\u5904\u7406|\u8bc6\u522b)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:correct(?:ed|ion|ing)?|revised|updated?|final|actually|wait|rather|instead|better|sorry|"
    r"mistake\w*|wrong|oops|apolog\w+|let me (?:re|fix|adjust|correct)\w*|on second thought|"
    r"refin\w+|re-?check\w*|re-?examin\w*|looking (?:closer|again)|should be|adjust\w*|improved)\b"
    r"|(?:^|[.!\n]\s*)no[,:. ]|\u66f4\u6b63|\u4fee\u6b63|\u7ea0\u6b63",
    re.IGNORECASE,
)
# What takes back a box that was given.
_WITHDRAWAL = re.compile(
    r"\b(?:withdraw\w*|withdrew|retract\w*|take (?:it|that|this|them|all|both) back|disregard\w*|"
    r"ignore|discard\w*|scratch that|never mind|(?:is|are|was|were|looks?) "
    r"(?:\w+ )?(?:wrong|incorrect|invalid|mistaken|a mistake|an error)|"
    r"(?:is|are|was|were|do|does|did)(?: not|n't) (?:correct|right|match|fit|what)|"
    r"(?:is|are|was|were) (?:actually|really|in fact) (?:a|an|the|no|not)|mistook|misidentified|"
    r"i was (?:mistaken|wrong)|made a mistake)\b"
)
_HYPOTHETICAL = re.compile(r"\b(?:if|let me know|in case|should you|may be|might be|could be)\b")
_ERROR_KEYS = ("error", "errors", "error_message", "exception", "refusal")
_FAILURES = frozenset({"error", "failed", "failure", "refused", "rejected"})
_SENTENCE = re.compile(r"[.!?;:\n]+(?=\s|$)|\n")
_DENIAL = r"(?:no|not|n't|cannot|none|without|neither|nor|never|absent|missing|invisible)"
_IN_A_DENIAL = word_set(
    "there is are was were i can could do does did see find found locate located detect "
    "detected identify identified any no not cannot can't couldn't don't doesn't didn't isn't "
    "aren't wasn't weren't visible present seen shown in the this that image picture photo "
    "scene be been appear appears exist exists here it anywhere so however but unfortunately "
    "sorry also of a an absent missing invisible none to unable which contain contains show "
    "shows depict depicts object objects clearly at all provided given note expression "
    "expressions for box boxes bounding bbox therefore and i'm as instance instances such match "
    "matching after all neither nor either or both them any"
)
_NEGATIVE = re.compile(rf"\b{_DENIAL}\b|n't\b|\bunable\b", re.IGNORECASE)


def refuses(text: str, asked: Asked) -> bool:
    """Whether a text says that the work is not done; the phrases asked for are not its words."""
    plain = text.casefold().replace("\u2019", "'")
    for phrase in asked.texts:
        if phrase.strip():
            plain = plain.replace(phrase.casefold(), " ")
    return _REFUSAL.search(plain) is not None


def is_error(value: Any) -> bool:
    """Whether a JSON value is, or holds beside its answer, the report of an error."""
    if not isinstance(value, dict):
        return False
    keys = lowered(value)
    for name in _ERROR_KEYS:
        reported = keys.get(name)
        if reported and not (isinstance(reported, str) and says_none(reported)):
            return True
    status = keys.get("status")
    return (isinstance(status, str) and status.strip().lower() in _FAILURES) or (
        keys.get("success") is False or keys.get("ok") is False
    )


def corrects(text: str) -> bool:
    """Whether a text announces that what follows replaces what was before."""
    return _CORRECTION.search(text) is not None


def withdrawn(text: str, asked: Asked) -> frozenset[int] | None:
    """The phrases whose boxes a text takes back, all where it names none; None if it does not."""
    taken: set[int] | None = None
    for sentence in re.split(r"[.!?\n]+(?=\s|$)", text):
        plain = folded(sentence)
        if not _WITHDRAWAL.search(plain) or _HYPOTHETICAL.search(plain):
            continue
        words = words_of(plain)
        named = {
            index
            for index, phrase in enumerate(asked.phrases)
            if place_of(phrase.words, words) is not None
        }
        taken = (taken or set()) | (named or set(range(len(asked))))
    return None if taken is None else frozenset(taken)


def denied(text: str, asked: Asked) -> Iterator[tuple[int, bool]]:
    """The phrases that sentences of ``text`` call unseen; True where they say nothing else."""
    for sentence in _SENTENCE.split(text):
        plain = folded(sentence.replace("**", "").replace("`", ""))
        if len(plain) > 400 or not _NEGATIVE.search(plain):
            continue
        words = words_of(plain)
        held = {
            index: place
            for index, phrase in enumerate(asked.phrases)
            if (place := place_of(phrase.words, words)) is not None
        }
        spans = {
            index: (start, start + len(asked.phrases[index].words)) for index, start in held.items()
        }
        for index, (start, end) in spans.items():
            if any(a <= start and end <= b and (a, b) != (start, end) for a, b in spans.values()):
                continue  # a part of another one that is meant
            covered = {place for a, b in spans.values() for place in range(a, b)}
            rest = [word for place, word in enumerate(words) if place not in covered]
            if _NEGATIVE.search(" ".join(rest)) and set(rest) <= _IN_A_DENIAL:
                yield index, True
            elif start and _NEGATIVE.search(words[start - 1]):
                yield index, False
