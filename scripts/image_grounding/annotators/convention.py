# SPDX-License-Identifier: Apache-2.0
"""Measuring an endpoint's box convention through the real prompt, and refusing without one."""

from collections.abc import Mapping, Sequence

from image_grounding.annotators.asking import ask_for_boxes
from image_grounding.endpoints import Asker
from image_grounding.endpoints.diagnosis import explained
from image_grounding.errors import EndpointError, RejectedRequestError, UnusableEndpointError
from image_grounding.families import Family
from image_grounding.images import EncodedImage
from image_grounding.measuring import Measurement, ProbeResult, make_probes, measure
from image_grounding.measuring.measurement import decide
from image_grounding.measuring.sight import names_colours, saw_all
from image_grounding.replies import GroundingReply
from image_grounding.spec import Vlm
from image_grounding.transports import transport_for

_OTHER_MODEL = (
    "choose a vision-language model that is trained to ground (Qwen-VL, Gemini, InternVL, "
    "GLM-V, Cosmos-Reason)"
)
_OTHER_CONVENTION = f"{_OTHER_MODEL}; if you know how it writes boxes, name it with vlm.coordinates"


async def measure_convention(asker: Asker, family: Family, vlm: Vlm) -> Measurement:
    """The convention that an endpoint answers in.

    Raises:
        EndpointError: the endpoint failed, in words that say what to do.
        UnusableEndpointError: it takes no images, does not see them, or cannot place boxes.
    """
    try:
        results = await probe(asker, family, vlm)
        measured = decide(results, family.convention)
        if measured.chosen is None:
            raise await refusal(asker, family, vlm, results, measured)
    except RejectedRequestError as error:
        raise takes_no_images(error) from None
    except EndpointError as error:
        raise await explained(error, asker, vlm) from None
    return measured


async def probe(asker: Asker, family: Family, vlm: Vlm) -> list[ProbeResult]:
    """The answers to the probes; raises EndpointError."""

    async def ask(texts: Sequence[str], image: EncodedImage) -> GroundingReply:
        return await ask_for_boxes(asker, family, texts, image)

    return await measure(ask, make_probes(transport_for(family, family.convention, vlm)))


def takes_no_images(error: RejectedRequestError) -> UnusableEndpointError:
    """The error for a plain picture that was rejected."""
    return UnusableEndpointError(
        f"the endpoint rejects a request with a plain image: {error}", remedy=_OTHER_MODEL
    )


def blind(said: Mapping[str, str]) -> UnusableEndpointError:
    """The error for wrong answers to squares of one colour; see ``names_colours``."""
    answers = ", ".join(f"{text!r} to a {colour} square" for colour, text in said.items())
    message = f"this model does not see images: it answered {answers}"
    return UnusableEndpointError(message, remedy=_OTHER_MODEL)


async def refusal(
    asker: Asker,
    family: Family,
    vlm: Vlm,
    results: Sequence[ProbeResult],
    measured: Measurement,
) -> UnusableEndpointError:
    """Why the measurement chose nothing: the model is blind, cannot be read, or cannot ground."""
    said = await names_colours(asker, transport_for(family, family.convention, vlm))
    if not saw_all(said):
        return blind(said)
    problems = [result.problem for result in results if result.problem]
    if len(problems) == len(results):
        return UnusableEndpointError(
            f"this model's answers to the grounding prompt cannot be read: {problems[0]}",
            remedy="raise the token limit, try vlm.structured_output=true, or another model",
        )
    return UnusableEndpointError(measured.refusal(), remedy=_OTHER_CONVENTION)
