# SPDX-License-Identifier: Apache-2.0
"""Which image, caption and phrase of the truth a record's are."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from rapidfuzz import fuzz, process

from image_grounding.evaluation.truth import ImageKey, TruthExample, TruthPhrase
from image_grounding.results import GroundedExpression, Record

# Least likeness (0..100) of phrases that are taken for the same.
LEAST_RATIO = 90.0
_ARTICLE = re.compile(r"^(?:a|an|the) ")
_NO_WORD = re.compile(r"[^\w']+")


def normalise(text: str) -> str:
    """A text without what two annotators differ in: case, spacing, punctuation, an article."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = _NO_WORD.sub(" ", folded).strip()
    return _ARTICLE.sub("", plain) or folded.strip()


class ImageIndex:
    """The images of a truth, found by a record's image path or ``image_id``."""

    def __init__(self, keys: Iterable[ImageKey]) -> None:
        self._by_id: dict[str, list[ImageKey]] = defaultdict(list)
        self._by_name: dict[str, list[ImageKey]] = defaultdict(list)
        for key in dict.fromkeys(keys):
            if key.image_id is not None:
                self._by_id[key.image_id].append(key)
            if key.path:
                self._by_name[_parts(key.path)[-1]].append(key)

    def find(self, record: Record) -> ImageKey | None:
        """The image of the longest common path suffix, else of the same id.

        A name goes first: numbers that two data sets gave to their images can agree by chance.
        None where there is none, or several are as good.
        """
        path = _parts(record.image_path)
        named = self._by_name.get(path[-1], [])
        ids = (str(record.image_id), PurePosixPath(path[-1]).stem)
        if named:
            shared = [_shared_suffix(path, _parts(key.path or "")) for key in named]
            best = [key for key, length in zip(named, shared, strict=True) if length == max(shared)]
            if len(best) > 1:
                best = [key for key in best if key.image_id in ids]
            return best[0] if len(best) == 1 else None
        for image_id in ids:
            if len(found := self._by_id.get(image_id, [])) == 1:
                return found[0]
        return None


def _parts(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return parts if parts else ("",)


def _shared_suffix(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count


def find_example(record: Record, examples: Sequence[TruthExample]) -> TruthExample | None:
    """The example of a record's image with its caption: the same, a like one, or one of none."""
    captioned = {one.caption: one for one in examples if one.caption is not None}
    for caption in (record.cleaned_caption, record.caption):
        if caption in captioned:
            return captioned[caption]
    plain = {normalise(caption): one for caption, one in captioned.items()}
    for caption in (record.cleaned_caption, record.caption):
        if found := process.extractOne(
            normalise(caption), plain.keys(), scorer=fuzz.ratio, score_cutoff=LEAST_RATIO
        ):
            return plain[found[0]]
    return next((one for one in examples if one.caption is None), None)


def match_phrases(
    expressions: Sequence[GroundedExpression],
    phrases: Sequence[TruthPhrase],
    *,
    same_caption: bool,
) -> dict[int, int]:
    """Expressions' indices by phrases' indices, one to one.

    Args:
        expressions: what was predicted.
        phrases: the truth's.
        same_caption: whether spans count in the same text; then equal spans match first.
            Normalised texts follow, then texts that are alike, the most alike first.
    """
    pairs: dict[int, int] = {}

    def take(same: Callable[[GroundedExpression, TruthPhrase], bool]) -> None:
        used = set(pairs.values())
        for p, phrase in enumerate(phrases):
            if p not in pairs:
                free = (e for e, one in enumerate(expressions) if e not in used)
                found = next((e for e in free if same(expressions[e], phrase)), None)
                if found is not None:
                    pairs[p] = found
                    used.add(found)

    if same_caption:
        take(lambda one, phrase: phrase.span is not None and one.char_span == phrase.span)
    take(lambda one, phrase: normalise(one.text) == normalise(phrase.text))
    used = set(pairs.values())
    likeness = sorted(
        (-fuzz.ratio(normalise(one.text), normalise(phrase.text)), p, e)
        for p, phrase in enumerate(phrases)
        if p not in pairs
        for e, one in enumerate(expressions)
        if e not in used
    )
    for ratio, p, e in likeness:
        if -ratio >= LEAST_RATIO and p not in pairs and e not in used:
            pairs[p] = e
            used.add(e)
    return pairs
