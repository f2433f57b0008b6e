# SPDX-License-Identifier: Apache-2.0
"""Runs by way of Ray: see ``RayEngine``."""

import contextlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from image_grounding.asking import Endpoint, make_endpoint
from image_grounding.cluster.connection import Connection, RayOptions
from image_grounding.cluster.endpoint import RemoteEndpoint
from image_grounding.cluster.images import RemoteImages
from image_grounding.cluster.pool import Pool
from image_grounding.environment import extra_needed
from image_grounding.errors import SpecError
from image_grounding.input.selection import Pilot
from image_grounding.input.shard import Shard
from image_grounding.results.folder import ResultsFolder
from image_grounding.run.pipeline import Pipeline
from image_grounding.run.progress import Reporter
from image_grounding.run.run import RunResult, run
from image_grounding.spec import Spec, Vlm
from image_grounding.spec.capabilities import capabilities_of
from image_grounding.teachers import Teacher
from image_grounding.teachers.vlm import VlmTeacher


class RayEngine:
    """An engine (see ``run``) whose pictures and requests are the work of Ray's workers.

    Everything else stays in this process: only it admits requests, so that limits and rates hold
    whatever becomes of a worker, and an engine can take over from another. Ray is started by the
    first picture: a run with nothing to ask needs none.
    """

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._pool: Pool | None = None

    def go(
        self, spec: Spec, reporter: Reporter, pilot: Pilot | None, shard: Shard | None
    ) -> RunResult:
        """See ``run``; what Ray writes on stdout of ended workers is for nobody."""
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return run(spec, reporter, pilot, shard, self)

    def make_teacher(self, spec: Spec, say: Callable[[str], None]) -> Teacher:
        """See ``Engine.make_teacher``; raises SpecError where Ray is missing, or of no use."""
        if not capabilities_of(spec.vlm.backend).needs_endpoint:
            raise SpecError(
                f"--engine ray sends requests to an endpoint; backend {spec.vlm.backend} asks none"
            )
        if find_spec("ray") is None:
            raise SpecError(extra_needed("--engine ray", "ray"))
        connection = Connection(self._options, say)
        settings = pickle.dumps(_with_key(spec.vlm))
        pool = self._pool = Pool(connection, settings, self._options.wait_s, say)

        def make(vlm: Vlm, say: Callable[[str], None]) -> Endpoint:
            return RemoteEndpoint(make_endpoint(vlm, say), pool)

        folder = ResultsFolder(spec.results_dir)
        return VlmTeacher(spec, folder, say, RemoteImages(pool), make)

    async def begin(self) -> None:
        """Nothing is to be done."""

    async def finish(self, pipeline: Pipeline) -> None:
        """See ``Engine.finish``: the outputs need no workers."""
        if self._pool:
            await self._pool.close()

    def facts(self) -> dict[str, Any]:
        """See ``Engine.facts``: what became of the workers."""
        return {"ray": self._pool.facts()} if self._pool else {}

    def waiting_text(self) -> str:
        """See ``Engine.waiting_text``: no sample waits."""
        return "done"


def _with_key(vlm: Vlm) -> Vlm:
    """The settings with what this process's environment adds to them."""
    if vlm.backend == "gemini":
        from image_grounding.asking.endpoints.gemini import gemini_key

        gemini = replace(vlm.gemini, api_key=gemini_key(vlm.gemini), base_url=vlm.gemini.address)
        return replace(vlm, gemini=gemini)
    from image_grounding.asking.endpoints.openai import openai_key

    return replace(vlm, openai=replace(vlm.openai, api_key=openai_key(vlm.openai)))
