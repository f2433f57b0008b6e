# SPDX-License-Identifier: Apache-2.0
"""How a run's questions are carried, as the options of ``run_pipeline.py`` say it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from image_grounding.errors import SpecError
from image_grounding.input.selection import Pilot
from image_grounding.input.shard import Shard
from image_grounding.run.estimate import BATCH_DISCOUNT
from image_grounding.run.progress import Reporter
from image_grounding.run.run import RunResult, run
from image_grounding.spec import Spec

if TYPE_CHECKING:
    from image_grounding.batch.making import QueueOptions


@dataclass(frozen=True)
class EngineOptions:
    """The engine, and the options that belong to one of them; see the help of each."""

    engine: str
    ray_address: str | None
    ray_workers: int | None
    ray_wait_s: float | None
    wait: bool
    poll_s: float
    job_requests: int | None
    cancel: bool

    def __post_init__(self) -> None:
        """Raise UsageError for an option of another engine."""
        if self.engine != "ray" and (self.ray_address or self.ray_workers or self.ray_wait_s):
            raise click.UsageError(
                "--ray-address, --ray-workers and --ray-wait belong to --engine ray"
            )
        if not self.is_batch and (self.wait or self.job_requests or self.cancel):
            raise click.UsageError("--wait, --job-requests and --cancel belong to --engine batch")

    @property
    def is_batch(self) -> bool:
        """Whether questions wait in a queue or in files."""
        return self.engine in ("batch", "batch-files")

    @property
    def discount(self) -> float:
        """What a token costs, of its price."""
        return BATCH_DISCOUNT if self.engine == "batch" else 1.0

    def require_place(self, spec: Spec) -> None:
        """See that the results can be where the spec wants them; raises SpecError."""
        if self.is_batch and spec.results_url:
            raise SpecError(
                "batch queues need a results_dir that is a folder: their jobs are kept in it; "
                f"{spec.results_url} is an address"
            )

    def run(
        self, spec: Spec, reporter: Reporter, pilot: Pilot | None, shard: Shard | None
    ) -> RunResult:
        """Run; see ``run`` and ``run_batch`` for what they raise."""
        if self.is_batch:
            from image_grounding.batch.rounds import Waiting, run_batch

            waiting = Waiting(self.wait, self.poll_s)
            return run_batch(spec, reporter, pilot, shard, self._queue(), waiting)
        _warn_of_jobs(spec, reporter)
        if self.engine == "ray":
            from image_grounding.cluster.connection import RayOptions
            from image_grounding.cluster.engine import RayEngine

            wait_s = self.ray_wait_s or RayOptions.wait_s
            options = RayOptions(self.ray_address, self.ray_workers, wait_s)
            return RayEngine(options).go(spec, reporter, pilot, shard)
        return run(spec, reporter, pilot, shard)

    def cancel_jobs(self, spec: Spec, reporter: Reporter) -> dict[str, Any]:
        """Cancel the jobs of a batch: what to print, with an exit code."""
        from image_grounding.batch.cancelling import cancel_jobs

        return cancel_jobs(spec, reporter.say, self._queue())

    def _queue(self) -> "QueueOptions":
        from image_grounding.batch.making import QueueOptions

        return QueueOptions(files=self.engine == "batch-files", job_requests=self.job_requests)


def _warn_of_jobs(spec: Spec, reporter: Reporter) -> None:
    """Say that batch jobs hold what is now asked for at once."""
    from image_grounding.batch.journal import jobs_in

    if count := sum(job["is_open"] for job in jobs_in(spec.results_dir)):
        reporter.say(
            f"warning: {count} batch jobs are under way in {spec.results_dir}; what they hold is "
            "asked for, and paid, once more (--engine batch collects it)"
        )
