# SPDX-License-Identifier: Apache-2.0
"""An inspection as one HTML file.

The overview is rendered here. The cards are embedded as JSON and built in the browser by a script
that creates only text nodes and attributes. The Content-Security-Policy admits the page's own
style and script by their hashes and nothing else: no network, no inline handler, no form, and
under Trusted Types no way from a string to markup.
"""

import base64
import hashlib
import os.path
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from image_grounding.errors import OutputError
from image_grounding.files import to_json, write_atomic
from image_grounding.inspection.marks import bbox_ids, digest_of
from image_grounding.inspection.model import Card, Inspection, Picked, without_box
from image_grounding.inspection.page.diff import word_diff
from image_grounding.inspection.page.thumbnails import Thumbnail, make_thumbnails

_FOLDER = Path(__file__).resolve().parent
# Concatenated into one script; each file uses only the files before it.
_SCRIPTS = ("dom", "marks", "picture", "text", "card", "list", "main")
MAX_BYTES = 14_500_000
# Characters that must not appear in a script element of any type.
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def write_page(inspection: Inspection, path: Path) -> None:
    """Write the report page; the pictures share what the rest leaves of ``MAX_BYTES``.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    data = _data(inspection)
    size = len(_to_script_json(data).encode())
    thumbnails = make_thumbnails((card.image for card in inspection.cards), MAX_BYTES - size)
    _add_pictures(data, inspection, thumbnails)
    style, script = _static("page.css"), "".join(_static(f"{name}.js") for name in _SCRIPTS)
    html = _template().render(
        inspection=inspection,
        drawn=_sample_sentence(inspection),
        run=data["run"],
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(_to_script_json(data)),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    write_atomic(path, html.encode("utf-8", "replace").decode())  # unpaired surrogates


def _sample_sentence(inspection: Inspection) -> str:
    """How many of the cards represent all records."""
    random = sum(card.picked is Picked.RANDOM for card in inspection.cards)
    others = len(inspection.cards) - random
    if not random:
        return (
            "None of them was drawn at random, so that reviewing them gives no precision of the "
            "data, only of their flags."
        )
    counted = f"{random} drawn at random, in the order of the draw"
    more = f"; then {others} picked for their flags, which no precision rests on" if others else ""
    return f"{counted}{more}."


def run_identity(inspection: Inspection) -> dict[str, str]:
    """The results that a review belongs to: their folder, and a hash of folder and step.

    It stays the same for another sample and after another run into the folder, because each mark
    carries a digest of the phrase and boxes that it belongs to.
    """
    folder = str(inspection.summary.get("working_folder", ""))
    results = str(inspection.summary.get("results_dir", ""))
    identity = to_json([os.path.join(folder, results), inspection.step])
    return {
        "results": results,
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest()[:20],
    }


def _data(inspection: Inspection) -> dict[str, Any]:
    """The data of the script in the page, without the pictures."""
    return {
        "run": run_identity(inspection),
        "checks": {
            name: {"sentence": check.sentence, "remedy": check.remedy}
            for name, check in inspection.checks.items()
        },
        "images": [],
        "cards": [_card(card) for card in inspection.cards],
    }


def _card(card: Card) -> dict[str, Any]:
    record = card.record
    return {
        "index": card.index,
        "sample": record.sample_id,
        "path": record.image_path,
        "size": record.size,
        "caption": record.cleaned_caption,
        "diff": word_diff(record.caption, record.cleaned_caption),
        "picked": card.picked,
        "because": card.because,
        "replies": [{"step": reply.step, "text": reply.text} for reply in card.replies],
        "expressions": [
            {
                "id": expression.expression_id,
                "text": expression.text,
                "span": expression.char_span,
                "digest": digest_of(record, number),
                "none": "" if expression.instances else without_box(record, number),
                "boxes": [
                    {"id": bbox_id, "bbox": instance.bbox, "score": instance.score}
                    for bbox_id, instance in zip(
                        bbox_ids(record, number), expression.instances, strict=True
                    )
                ],
            }
            for number, expression in enumerate(record.expressions)
        ],
        "flags": [
            {
                "check": flag.check,
                "detail": flag.detail,
                "expression": flag.expression,
                "instances": flag.instances,
            }
            for flag in card.flags
        ],
    }


def _add_pictures(
    data: dict[str, Any], inspection: Inspection, thumbnails: Mapping[Path | str, Thumbnail]
) -> None:
    """Add each picture once, however many cards show it."""
    places: dict[Path | str, int] = {}
    for card, fields in zip(inspection.cards, data["cards"], strict=True):
        thumbnail = thumbnails[card.image]
        if thumbnail.url is None:
            fields["image"], fields["problem"] = None, thumbnail.problem
            continue
        if card.image not in places:
            places[card.image] = len(data["images"])
            data["images"].append(thumbnail.url)
        fields["image"] = places[card.image]


def _to_script_json(value: Any) -> str:
    """JSON that is safe inside a script element."""
    return to_json(value).translate(_UNSAFE)


def _policy(style: str, script: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "form-action 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _static(name: str) -> str:
    return (_FOLDER / "static" / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda value: f"{value:,.4g}"
    environment.filters["plain"] = lambda name: str(name).replace("_", " ")
    return environment.get_template("template.html.j2")
