# SPDX-License-Identifier: Apache-2.0
"""The check-up: steps in order, stopping where going on makes no sense."""

from collections.abc import Callable
from pathlib import Path

from image_grounding.asking import Asker, make_asker
from image_grounding.asking.diagnosis import diagnose, nearest_model, unknown_model, wrong_path
from image_grounding.asking.endpoints.errors import safe_address
from image_grounding.asking.endpoints.retired import retirement
from image_grounding.asking.transport import overview_for, transport_for
from image_grounding.errors import EndpointError, UnknownModelError, UnreachableError
from image_grounding.families.families import Family, asked_family
from image_grounding.health import asks
from image_grounding.health.estimate import Measured, estimate
from image_grounding.health.model import CheckStep, CheckUp, Status, failed
from image_grounding.health.server import look_at_server
from image_grounding.measuring import Measurement
from image_grounding.measuring.drawing import save_probes
from image_grounding.measuring.endpoint import conclude, probe
from image_grounding.measuring.measurement import decide
from image_grounding.measuring.probes import plain_square
from image_grounding.spec import Spec

CONFIGURATION, KEY, MODEL, BOXES = "configuration", "key", "model", "box convention"
COST = "latency and tokens"
# A check-up tells of a reached rate limit; it does not wait for it to end.
_RATE_LIMITED_S = 0.0


async def check_up(
    spec: Spec,
    *,
    samples: int = 1000,
    wait: float = 0.0,
    save_probe: Path | None = None,
    say: Callable[[str], None] = lambda message: None,
    show: Callable[[CheckStep], None] = lambda step: None,
) -> CheckUp:
    """Look at a spec's endpoint.

    Args:
        spec: which endpoint, and how it is asked.
        samples: what the estimate is for.
        wait: seconds to wait for a server that is still loading.
        save_probe: a folder for the probe pictures with the model's boxes; None for none.
        say: called with messages that belong to no step.
        show: called with each step as it ends.
    """
    run = _Run(spec, say, show)
    try:
        return await run.all(samples, wait, save_probe)
    finally:
        await run.asker.close()


class _Run:
    def __init__(
        self, spec: Spec, say: Callable[[str], None], show: Callable[[CheckStep], None]
    ) -> None:
        self.spec = spec
        self.vlm = spec.vlm
        self.asker: Asker = make_asker(spec, say, rate_limited_seconds=_RATE_LIMITED_S)
        self.family: Family = asked_family(self.vlm.model, self.vlm.coordinates)
        self.transport = transport_for(self.family, self.family.convention, self.vlm)
        self.steps: list[CheckStep] = []
        self.measured: Measurement | None = None
        self.calls = {"0": Measured(), "1": Measured()}
        self._say = say
        self._show = show

    def add(self, step: CheckStep) -> bool:
        """Keep a step; whether it makes sense to go on."""
        self.steps.append(step)
        self._show(step)
        return step.status is not Status.FAIL

    async def all(self, samples: int, wait: float, save_probe: Path | None) -> CheckUp:
        """Every step, until one fails."""
        usable = await self._usable(wait, save_probe)
        return CheckUp(
            usable,
            tuple(self.steps),
            self.asker.supported() if self.asker.answered else {},
            dict(self.measured.ious) if self.measured else {},
            estimate(samples, self.calls, self.spec) if usable else None,
        )

    async def _usable(self, wait: float, save_probe: Path | None) -> bool:
        if not self.add(self._configuration()):
            return False
        steps = await look_at_server(self.vlm.base_url, wait, self._say)
        if not all([self.add(step) for step in steps]):
            return False
        name = KEY
        try:
            if not await self._key_and_model():
                return False
            name = asks.TEXT
            text = await asks.text_call(self.asker)
            self.add(text)
            name = asks.IMAGE
            self.add(await asks.image_call(self.asker, self.transport))
            name = asks.STRUCTURED
            wanted = self.vlm.structured_output is not False
            self.add(await asks.structured_output(self.asker, self.transport, wanted))
            name = asks.TOKENS
            overview = overview_for(self.transport, self.vlm)
            shown = plain_square("blue", overview) if overview else None
            with self.calls["0"].watching(self.asker):
                step = await asks.step_0(self.asker, shown)
            if not self.add(step):
                return False
            name = BOXES
            if not self.add(await self._boxes(save_probe)):
                return False
            return self.add(self._cost())
        except EndpointError as error:
            return self.add(failed(name, await diagnose(error, self.asker, self.vlm)))

    def _configuration(self) -> CheckStep:
        vlm = self.vlm
        if vlm.backend == "openai" and not vlm.openai.base_url:
            remedy = "give vlm.openai.base_url or --base-url, such as http://localhost:8000/v1"
            return CheckStep(CONFIGURATION, Status.FAIL, "no base_url", remedy)
        if warning := retirement(vlm.model) if vlm.backend == "gemini" else None:
            return CheckStep(CONFIGURATION, Status.WARN, warning, "change vlm.gemini.model")
        where = safe_address(vlm.openai.base_url) if vlm.backend == "openai" else "Gemini API"
        message = f"{vlm.model or '(no model named)'} at {where}"
        return CheckStep(CONFIGURATION, Status.OK, message, details={"family": self.family.name})

    async def _key_and_model(self) -> bool:
        """The list of models shows both; where there is none, the first call will."""
        try:
            served = await self.asker.endpoint().models()
        except UnreachableError:
            raise
        except EndpointError:
            served = []
        if not served:
            return await self._without_list()
        if not self.add(CheckStep(KEY, Status.OK, "accepted, or none is asked for")):
            return False
        if self.vlm.model in served:
            return self.add(CheckStep(MODEL, Status.OK, f"{self.vlm.model} is served"))
        unknown = unknown_model(self.vlm.model, served)
        details = {"served": served[:100], "nearest": nearest_model(self.vlm.model, served)}
        status, message, remedy = Status.FAIL, str(unknown), unknown.remedy
        if self.vlm.model and await self._answers() is None:
            status = Status.WARN
            message = f"{self.vlm.model!r} is not listed, but is answered: the server ignores "
            message += "the name, or its list is not complete"
        return self.add(CheckStep(MODEL, status, message, remedy, details))

    async def _without_list(self) -> bool:
        if not self.vlm.model:
            return self.add(failed(MODEL, await wrong_path(self.vlm)))
        if error := await self._answers():
            return self.add(failed(MODEL, await diagnose(error, self.asker, self.vlm)))
        self.add(CheckStep(KEY, Status.OK, "accepted, or none is asked for"))
        message = f"{self.vlm.model} answers; the endpoint lists no models"
        return self.add(CheckStep(MODEL, Status.OK, message))

    async def _answers(self) -> UnknownModelError | None:
        """What a request with this model's name meets, if the name is the trouble."""
        try:
            await asks.text_call(self.asker)
        except UnknownModelError as error:
            return error
        return None

    async def _boxes(self, save_probe: Path | None) -> CheckStep:
        with self.calls["1"].watching(self.asker):
            results = await probe(self.asker, self.family, self.vlm)
        self.measured = decide(results, self.family.convention)
        if save_probe:
            save_probes(results, self.measured.chosen or self.measured.best[0], save_probe)
        self.measured = measured = await conclude(self.asker, self.family, self.vlm, results)
        message = f"{measured.chosen}, mean IoU {measured.iou:.2f}"
        unread = (result.problem for result in results if result.problem)
        warnings = (measured.contradiction(self.family), measured.doubt(), next(unread, None))
        if given := [warning for warning in warnings if warning]:
            remedy = "look at the pictures that --save-probe saves" if measured.doubt() else None
            return CheckStep(BOXES, Status.WARN, "; ".join([message, *given]), remedy)
        return CheckStep(BOXES, Status.OK, message)

    def _cost(self) -> CheckStep:
        """What a call of each step took."""
        figures = {step: call.figures() for step, call in self.calls.items()}
        texts = [
            f"step {step}: {of['seconds']:.2f} s, {of['input_tokens'] or '?'} tokens in, "
            f"{of['output_tokens'] or '?'} out"
            for step, of in figures.items()
            if of
        ]
        details = {f"step_{step}": of for step, of in figures.items()}
        return CheckStep(COST, Status.OK, "; ".join(texts), details=details)
