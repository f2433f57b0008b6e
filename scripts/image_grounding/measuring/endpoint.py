# SPDX-License-Identifier: Apache-2.0
"""Measuring an endpoint's box convention through the real prompt, and refusing without one."""

import contextlib
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from image_grounding.asking import Asker
from image_grounding.asking.diagnosis import diagnose
from image_grounding.asking.endpoints.errors import is_hosted, speaks_of_images
from image_grounding.asking.transport import transport_for
from image_grounding.errors import (
    EndpointError,
    LoadingError,
    RejectedRequestError,
    UnusableEndpointError,
)
from image_grounding.families.families import Family
from image_grounding.images.encoding import EncodedImage
from image_grounding.measuring.asking import ask_for_boxes
from image_grounding.measuring.measurement import (
    MIN_LEAD,
    Measurement,
    ProbeResult,
    decide,
    measure,
)
from image_grounding.measuring.probes import make_probes
from image_grounding.measuring.sight import names_colours, saw_all
from image_grounding.replies import GroundingReply
from image_grounding.spec import Vlm
from image_grounding.steps.drive import Driven
from image_grounding.steps.question import Question

_OTHER_MODEL = (
    "choose a vision-language model that is trained to ground (Qwen-VL, Gemini, InternVL, "
    "GLM-V, Cosmos-Reason)"
)
# A server of a model with eyes that was started without them, by its own words.
_BLINDFOLDED = {
    "mmproj": "start llama.cpp's server with --mmproj and the model's vision part",
    "at most 0 image": "start vLLM with --limit-mm-per-prompt '{\"image\": 1}'",
}
_OTHER_CONVENTION = f"{_OTHER_MODEL}; if you know how it writes boxes, name it with vlm.coordinates"
# Boxes that fit the truth less than this have nothing to do with it, whatever a spec says.
_NO_NONSENSE = 0.1
_ANY_QUESTION = Question("Answer with one word: ready")


async def measure_convention(asker: Asker, family: Family, vlm: Vlm) -> Measurement:
    """The convention that an endpoint answers in; one that the spec names, if it can be that.

    Raises:
        EndpointError: the endpoint failed, in words that say what to do.
        UnusableEndpointError: it takes no images, does not see them, or cannot place boxes.
    """
    async with _diagnosing(asker, vlm):
        return await conclude(asker, family, vlm, await probe(asker, family, vlm))


async def fit_of(convention: str, asker: Asker, family: Family, vlm: Vlm) -> float:
    """Mean IoU of the boxes of one probe, read in a convention that is known already.

    One request that shows that the server is ready, the key and the model are right, that the
    model sees, and that boxes can be read.

    Raises:
        EndpointError: as ``measure_convention``; not for boxes that do not fit.
    """
    async with _diagnosing(asker, vlm):
        (result,) = await probe(asker, family, vlm, 1)
        if not any(result.answers.values()):
            answers = await names_colours(asker, transport_for(family, family.convention, vlm))
            if not saw_all(answers):
                raise sees_nothing(answers)
        return statistics.fmean(result.ious(convention))


@contextlib.asynccontextmanager
async def _diagnosing(asker: Asker, vlm: Vlm) -> AsyncIterator[None]:
    """What an endpoint fails with, in words that say what to do; that it is not ready first."""
    try:
        if vlm.base_url and not is_hosted(vlm.base_url) and not asker.answered:
            await _make_sure_it_is_ready(asker, vlm.base_url)
        yield
    except RejectedRequestError as error:
        raise await diagnose_rejection(error, asker) from None
    except EndpointError as error:
        raise await diagnose(error, asker, vlm) from None


async def _make_sure_it_is_ready(asker: Asker, base_url: str) -> None:
    """An answer outweighs what a gateway says of its health."""
    # aiohttp is slow to import, and a run with nothing to ask does without.
    from image_grounding.asking.endpoints.readiness import kind_of_server

    try:
        await kind_of_server(base_url)  # raises where it still loads
    except LoadingError:
        if not await asker.answers(_ANY_QUESTION):
            raise


async def probe(
    asker: Asker, family: Family, vlm: Vlm, count: int | None = None
) -> list[ProbeResult]:
    """The answers to the first ``count`` probes, or to all; raises EndpointError."""

    async def ask(texts: Sequence[str], image: EncodedImage) -> Driven[GroundingReply]:
        return await ask_for_boxes(asker, family, texts, image)

    probes = make_probes(transport_for(family, family.convention, vlm))
    return await measure(ask, probes[:count])


async def conclude(
    asker: Asker, family: Family, vlm: Vlm, results: Sequence[ProbeResult]
) -> Measurement:
    """What the answers to all probes mean.

    Raises:
        UnusableEndpointError: no convention fits, or another one than the spec names.
    """
    measured = decide(results, family.convention)
    given = vlm.coordinates
    if given == "auto":
        if measured.chosen:
            return measured
    elif measured.chosen and measured.ious[given] < measured.iou - MIN_LEAD:
        raise UnusableEndpointError(
            f"the spec says {given} (mean IoU {measured.ious[given]:.2f}), but the endpoint "
            f"answers in {measured.chosen}, mean IoU {measured.iou:.2f}",
            remedy="set vlm.coordinates to auto; vlm.coordinates_trusted=true if you know better",
        )
    elif measured.ious[given] >= _NO_NONSENSE:
        return replace(measured, chosen=given)
    raise await why_none(asker, family, vlm, results, measured)


async def diagnose_rejection(error: RejectedRequestError, asker: Asker) -> EndpointError:
    """Why a request with a plain picture was rejected: for the picture, or for something else."""
    text = error.server_text.lower()
    if "context" in text and any(word in text for word in ("length", "size", "window")):
        remedy = "start the server with a longer context, or lower vlm.image.max_pixels"
        return RejectedRequestError(
            str(error), status=error.status, remedy=remedy, server_text=error.server_text
        )
    if not speaks_of_images(error):
        try:
            await asker.ask(_ANY_QUESTION)
        except EndpointError:
            return error
    remedies = (remedy for sign, remedy in _BLINDFOLDED.items() if sign in text)
    why = f"HTTP {error.status}: {error.server_text}"
    return UnusableEndpointError(
        f"the endpoint rejects a request with a plain image ({why})",
        remedy=next(remedies, _OTHER_MODEL),
    )


def sees_nothing(answers: Mapping[str, str]) -> UnusableEndpointError:
    """The error for wrong answers to squares of one colour; see ``names_colours``."""
    listed = ", ".join(f"{text!r} to a {colour} square" for colour, text in answers.items())
    message = f"this model does not see images: it answered {listed}"
    return UnusableEndpointError(message, remedy=_OTHER_MODEL)


async def why_none(
    asker: Asker,
    family: Family,
    vlm: Vlm,
    results: Sequence[ProbeResult],
    measured: Measurement,
) -> UnusableEndpointError:
    """Why the measurement chose nothing: the model is blind, cannot be read, or cannot ground."""
    answers = await names_colours(asker, transport_for(family, family.convention, vlm))
    if not saw_all(answers):
        return sees_nothing(answers)
    unread = [result for result in results if not any(result.answers.values())]
    if len(unread) * 2 > len(results):
        why = unread[0].problem or "they hold no boxes that can be read"
        wrote = f"; it wrote {unread[0].excerpt!r}" if unread[0].excerpt else ""
        structured = "false" if vlm.structured_output is True else "true"
        return UnusableEndpointError(
            f"this model's answers to the grounding prompt cannot be read: {why}{wrote}",
            remedy=f"raise the token limit, try vlm.structured_output={structured}, or another "
            "model",
        )
    remedy = _OTHER_MODEL if measured.best[1] < _NO_NONSENSE else _OTHER_CONVENTION
    return UnusableEndpointError(measured.why_undecided(), remedy=remedy)
