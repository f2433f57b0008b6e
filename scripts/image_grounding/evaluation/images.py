# SPDX-License-Identifier: Apache-2.0
"""Which image of the truth a record is of: by path, by id, by file name."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from image_grounding.errors import InputError
from image_grounding.evaluation.model import Annotation
from image_grounding.evaluation.truth import Truth
from image_grounding.exports.images import image_id
from image_grounding.results.reading import Record, Results

_EXAMPLES = 3


@dataclass
class TruthImage:
    """An image of the truth with all its annotations."""

    path: str
    ids: tuple[str, ...]
    annotations: list[Annotation] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The image as a message shows it."""
        known = [f"file {self.path!r}"] if self.path else []
        return ", ".join([*known, *(f"id {name!r}" for name in self.ids)])


class ImageIndex:
    """The images of a truth, found from a record in one of these ways, ``RULES``.

    - ``path``: one path is the end of the other, part by part, or both are the same;
    - ``copy``: the truth's file is the copy of the record's that an export made;
    - ``image_id``: the ids are equal, as numbers where both are; the truth's file name without
      its ending is an id where it gives no other;
    - ``file_name``: the last parts are equal but for their endings.

    An image that could be several of the truth's is none of them.
    """

    def __init__(
        self, annotations: Iterable[Annotation], image_key: Callable[[Record], str]
    ) -> None:
        self._image_key = image_key
        by_identity: dict[object, TruthImage] = {}
        for annotation in annotations:
            path, ids = annotation.image_path, annotation.image_ids
            image = by_identity.setdefault(path or ids, TruthImage(path, ids))
            image.annotations.append(annotation)
        self.images = tuple(by_identity.values())
        self._by_name: dict[str, list[TruthImage]] = defaultdict(list)
        self._by_id: dict[str, list[TruthImage]] = defaultdict(list)
        self._by_stem: dict[str, list[TruthImage]] = defaultdict(list)
        for image in self.images:
            file = _path(image.path)
            if image.path:
                self._by_name[file.name].append(image)
                self._by_stem[file.stem].append(image)
            for image_id_text in image.ids or (file.stem,):
                self._by_id[_id(image_id_text)].append(image)

    def by_path(self, record: Record) -> TruthImage | None:
        """The image whose path is the record's, or the end of it, or the other way round."""
        path = _path(record.image_path)
        found = [image for image in self._by_name.get(path.name, ()) if _same_end(path, image.path)]
        same = [image for image in found if _path(image.path) == path]
        return _only(same or found)

    def by_copy(self, record: Record) -> TruthImage | None:
        """The image whose file is a copy of the record's."""
        return _only(self._by_stem.get(image_id(self._image_key(record)), []))

    def by_id(self, record: Record) -> TruthImage | None:
        """The image whose id is the record's."""
        return _only(self._by_id.get(_id(str(record.image_id)), []))

    def by_file_name(self, record: Record) -> TruthImage | None:
        """The image whose file has the same name, its ending aside."""
        return _only(self._by_stem.get(_path(record.image_path).stem, []))


Lookup = Callable[[ImageIndex, Record], TruthImage | None]
RULES: Mapping[str, Lookup] = {
    "path": ImageIndex.by_path,
    "copy": ImageIndex.by_copy,
    "image_id": ImageIndex.by_id,
    "file_name": ImageIndex.by_file_name,
}


# Ids are often running numbers, which find some image or other; a path hardly finds a wrong one,
# and the name of a copy none.
_WEIGHT = {"path": 2, "copy": 1_000_000}


def choose_rule(results: Results, index: ImageIndex, truth: Truth) -> str:
    """The rule that finds most records' images; one of a path counts twice.

    One rule for all records: what is an id here and a running number there would otherwise
    join some images wrongly.

    Raises:
        InputError: there are no records, or none of them is of an image of the truth.
    """
    found = Counter({name: 0 for name in RULES})
    examples: list[str] = []
    for record in results.records():
        found.update(name for name, lookup in RULES.items() if lookup(index, record))
        if len(examples) < _EXAMPLES:
            examples.append(f"file {record.image_path!r}, id {str(record.image_id)!r}")
    if not examples:
        raise InputError(f"there are no records in {results.file}")
    best = max(RULES, key=lambda name: found[name] * _WEIGHT.get(name, 1))
    if not found[best]:
        in_truth = "; ".join(image.name for image in index.images[:_EXAMPLES])
        raise InputError(
            f"no image of {results.file} is in {truth.path} (read as {truth.format}). "
            f"Results: {'; '.join(examples)}. Truth: {in_truth}"
        )
    return best


def _path(text: str) -> PurePosixPath:
    return PurePosixPath(text.replace("\\", "/"))


def _same_end(first: PurePosixPath, second: str) -> bool:
    pairs = zip(reversed(first.parts), reversed(_path(second).parts), strict=False)
    return all(part == other for part, other in pairs)


def _id(text: str) -> str:
    return str(int(text)) if text.isascii() and text.isdecimal() and len(text) < 100 else text


def _only(found: list[TruthImage]) -> TruthImage | None:
    return found[0] if len(found) == 1 else None
