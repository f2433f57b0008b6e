# SPDX-License-Identifier: Apache-2.0
"""The requests of a check-up: text, image, structured output, and one real step 0."""

import json

from image_grounding.asking import Asker
from image_grounding.boxes.frames import Transport
from image_grounding.errors import RejectedRequestError, SampleError
from image_grounding.health.model import CheckStep, Status
from image_grounding.images.encoding import EncodedImage
from image_grounding.measuring.asking import DrawnPicture
from image_grounding.measuring.endpoint import diagnose_rejection, sees_nothing
from image_grounding.measuring.probes import COLOURS, plain_square
from image_grounding.measuring.sight import names_colours, saw_all
from image_grounding.steps.drive import drive
from image_grounding.steps.extraction import EXTRACTION, ask_about
from image_grounding.steps.question import Question, ReplySchema

TEXT, IMAGE, STRUCTURED, TOKENS = "text call", "image call", "structured output", "token limit"
CAPTION = "In this picture we can see two small dogs on a red sofa next to an open window."
_REMEDY_LIMIT = (
    "raise vlm.openai.max_tokens or vlm.gemini.max_output_tokens; a thinking model needs far "
    "more, or thinking turned off"
)
_COLOUR_SCHEMA = ReplySchema(
    "plain_colour",
    {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": list(COLOURS)}},
        "required": ["colour"],
        "additionalProperties": False,
    },
)


async def text_call(asker: Asker) -> CheckStep:
    """A short text request; raises EndpointError."""
    try:
        reply = await asker.ask(Question("Answer with one word: ready"))
    except RejectedRequestError as error:
        if "image" not in str(error).lower():
            raise
        message = "not without an image; step 0 sends it too"
        return CheckStep(TEXT, Status.OK, message, details={"needs_image": True})
    answer = " ".join(reply.text.split())[:40]
    return CheckStep(TEXT, Status.OK, f"answered {answer!r} in {reply.latency:.2f} s")


async def image_call(asker: Asker, transport: Transport) -> CheckStep:
    """Does it really see? Raises EndpointError, with its remedy, where it does not."""
    try:
        answers = await names_colours(asker, transport)
    except RejectedRequestError as error:
        raise await diagnose_rejection(error, asker) from None
    if not saw_all(answers):
        raise sees_nothing(answers)
    return CheckStep(IMAGE, Status.OK, "it sees: the colour of a plain square was right")


async def structured_output(asker: Asker, transport: Transport, wanted: bool) -> CheckStep:
    """Whether JSON-schema replies are taken, and kept to; raises EndpointError."""
    if not wanted:
        return CheckStep(STRUCTURED, Status.SKIPPED, "vlm.structured_output is false")
    prompt = "In one sentence of plain prose, say which colour fills this image."
    question = Question(prompt, schema=_COLOUR_SCHEMA)
    reply = await asker.ask(question, plain_square("green", transport))
    if not asker.supported()["schema"]:
        message = "not taken; replies are read as free text, which works"
        return CheckStep(STRUCTURED, Status.WARN, message)
    try:
        kept = set(json.loads(reply.text, strict=False)) == {"colour"}
    except (ValueError, TypeError, RecursionError):
        kept = False
    if kept:
        return CheckStep(STRUCTURED, Status.OK, "JSON-schema replies are taken and kept to")
    message = "taken, but the reply does not keep to the schema; replies are read leniently"
    return CheckStep(STRUCTURED, Status.WARN, message)


async def step_0(asker: Asker, image: EncodedImage | None) -> CheckStep:
    """One real expression extraction, whole within the token limit; raises EndpointError."""
    before = asker.meter.asked_again
    try:
        carrier = DrawnPicture(asker, image)
        driven = await drive(ask_about(CAPTION, None), EXTRACTION.read, carrier)
    except SampleError as error:
        return CheckStep(
            TOKENS,
            Status.FAIL if error.reason == "reply_truncated" else Status.WARN,
            f"a plain caption could not be read out: {error}",
            _REMEDY_LIMIT,
        )
    names = ", ".join(found.text for found in driven.result.expressions) or "none"
    if asker.meter.asked_again > before:
        message = f"a reply was cut and had to be asked for again; expressions: {names}"
        return CheckStep(TOKENS, Status.WARN, message, "raise the token limit")
    if not asker.supported()["token_limit"]:
        message = "fewer output tokens than configured are accepted; a reply fits nevertheless"
        return CheckStep(TOKENS, Status.WARN, message, "lower the token limit in the spec")
    return CheckStep(TOKENS, Status.OK, f"a whole reply fits; expressions found: {names}")
