# SPDX-License-Identifier: Apache-2.0
"""The teacher that asks a vision-language model behind an endpoint."""

from collections.abc import Callable
from typing import Any

from image_grounding.asking import Endpoint, make_asker, make_endpoint
from image_grounding.asking.diagnosis import diagnose
from image_grounding.asking.transport import overview_for, transport_for
from image_grounding.boxes.geometry import MIN_IOU
from image_grounding.errors import EndpointError
from image_grounding.families.families import asked_family
from image_grounding.images.store import ImageStore
from image_grounding.measuring import Measurement, MeasurementCache
from image_grounding.measuring.endpoint import fit_of, measure_convention
from image_grounding.results.folder import ResultsFolder
from image_grounding.spec import Spec, Vlm
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.steps.profile import Profile
from image_grounding.steps.prompts import CAPTIONS_VERSION, SINGLE_PASS_VERSION, VERSION
from image_grounding.steps.question import Question, Reply
from image_grounding.teachers.base import Traffic


class VlmTeacher:
    """Carries questions to an endpoint, and knows in which convention it answers.

    Args:
        spec: of the run.
        folder: where measurements are kept.
        say: takes messages.
        images: where pictures are made ready; else in this process.
        maker: makes the endpoint.
    """

    def __init__(
        self,
        spec: Spec,
        folder: ResultsFolder,
        say: Callable[[str], None],
        images: ImageStore | None = None,
        maker: Callable[[Vlm, Callable[[str], None]], Endpoint] = make_endpoint,
    ) -> None:
        self.capabilities = capabilities_of(spec.vlm.backend)
        self.images = images or ImageStore()
        self._asker = make_asker(spec, say, for_run=True, maker=maker)
        self._vlm = spec.vlm
        self._family = asked_family(spec.vlm.model, spec.vlm.coordinates)
        self._single_pass = spec.workflow.in_single_pass
        self._captions = spec.workflow.captions_together
        self._named = spec.vlm.coordinates != "auto"
        self._measurement: Measurement | None = None
        self._profile: Profile | None = None
        self._named_iou: float | None = None
        self._say = say
        self._cache = MeasurementCache(folder, spec.vlm, self.profile.transport)
        if not self._named and not spec.workflow.force_reprocess:
            self._measurement = self._cache.load()

    @property
    def profile(self) -> Profile:
        """See ``Teacher.profile``; the convention is the measured one, else the likely one."""
        measured = self._measurement
        convention = (measured and measured.chosen) or self._family.convention
        if self._profile is None or self._profile.convention != convention:
            transport = transport_for(self._family, convention, self._vlm)
            overview = overview_for(transport, self._vlm)
            self._profile = Profile(
                self._family, convention, transport, overview, self._single_pass, self._captions
            )
        return self._profile

    def endpoint(self) -> Endpoint:
        """Who is asked; raises KeyRefusedError where it needs a key and there is none."""
        return self._asker.endpoint()

    async def carry(self, question: Question) -> Reply:
        """The endpoint's reply; see ``Carrier.carry``."""
        picture = question.picture
        image = await self.images.load(picture.source, picture.transport) if picture else None
        return await self._asker.ask(question, image)

    async def prepare(self, *, boxes: bool) -> None:
        """Measure the box convention; one that is known already is tried on one probe.

        Raises:
            EndpointError: the endpoint cannot be used, or the model cannot place boxes.
        """
        if not boxes:
            return
        if not (self._named or self._measurement):
            await self._measure()
            return
        convention = self.profile.convention
        fit = await self._fit()
        self._named_iou = fit if self._named else None
        if fit >= MIN_IOU:
            where = "as the spec says" if self._named else "as measured before"
            self._say(f"boxes come as {convention}, {where} (mean IoU {fit:.2f} on a probe)")
            return
        if self._vlm.coordinates_trusted and self._named:
            self._say(
                f"warning: the boxes of the probe are elsewhere (mean IoU {fit:.2f} as "
                f"{convention}); vlm.coordinates is trusted. check_endpoint.py says what the "
                "endpoint answers in"
            )
            return
        await self._measure()

    async def recheck(self) -> bool:
        """See ``Teacher.recheck``; a convention that is trusted is not doubted."""
        before = self.profile.convention
        if self._named and self._vlm.coordinates_trusted:
            return True
        if await self._fit() >= MIN_IOU:
            return True
        self._say(f"boxes do not come as {before} any more; measuring again")
        await self._measure()
        return self.profile.convention == before

    async def _fit(self) -> float:
        return await fit_of(self.profile.convention, self._asker, self._family, self._vlm)

    async def _measure(self) -> None:
        measured = await measure_convention(self._asker, self._family, self._vlm)
        self._cache.save(measured)
        self._measurement = measured
        self._say(f"boxes come as {measured.chosen} (mean IoU {measured.iou:.2f} on probes)")
        for warning in (measured.contradiction(self._family), measured.doubt()):
            if warning:
                self._say(f"warning: {warning}")

    async def diagnose(self, error: EndpointError) -> EndpointError:
        """``error``, or what the endpoint says of it when it is asked."""
        return await diagnose(error, self._asker, self._vlm)

    def provenance(self) -> dict[str, Any]:
        """Backend, model, prompt version and box convention (None before it is known)."""
        known = self._named or self._measurement is not None
        version = CAPTIONS_VERSION if self._captions > 1 else VERSION
        return {
            "backend": self._vlm.backend,
            "model": self._vlm.model,
            "prompt_version": SINGLE_PASS_VERSION if self._single_pass else version,
            "convention": self.profile.convention if known else None,
            "measured_convention": self._measurement.chosen if self._measurement else None,
        }

    def facts(self) -> dict[str, Any]:
        """Provenance, and what the measurement found."""
        measured = self._measurement
        iou = measured.iou if measured else self._named_iou
        return {
            **self.provenance(),
            "convention_iou": None if iou is None else round(iou, 4),
            "conventions_tried": dict(measured.ious) if measured else None,
            "family": self._family.name,
        }

    def traffic(self) -> Traffic:
        """See ``Teacher.traffic``."""
        gate, meter, budget = self._asker.gate, self._asker.meter, self._asker.budget
        return Traffic(
            in_flight=gate.in_flight,
            limit=gate.limit,
            why=self._asker.why_no_more,
            requests=meter.requests,
            retries=meter.retries,
            tokens=meter.input_tokens + meter.output_tokens,
            answered=self._asker.answered,
            cost=budget.cost if budget else None,
            silent=self._asker.outage.seconds if self._asker.outage else 0.0,
            waiting=self._asker.waiting,
        )

    def usage(self) -> dict[str, Any]:
        """See ``Teacher.usage``."""
        gate, prices = self._asker.gate, self._vlm.prices
        return {
            **self._asker.meter.plain(prices.input, prices.output),
            # With max_workers auto, ``limit`` is where it came to.
            "concurrency": {"most": gate.most_in_flight, "limit": gate.limit},
        }

    async def close(self) -> None:
        """Let the endpoint's connections and the pictures go."""
        self.images.close()
        await self._asker.close()
