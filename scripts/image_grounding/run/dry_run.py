# SPDX-License-Identifier: Apache-2.0
"""Everything that can be known of a run before it asks: nothing is sent, nothing is written."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from image_grounding.boxes.frames import Size
from image_grounding.errors import Exit, SampleError
from image_grounding.first_few import FirstFew
from image_grounding.images.pixels import open_upright, upright_size
from image_grounding.input.ids import Ids
from image_grounding.input.samples import BadLine, Sample, wrong_size
from image_grounding.input.selection import Pilot, Selection
from image_grounding.input.shard import Shard
from image_grounding.results.checkpoints import Finished, load_finished
from image_grounding.results.failures import INPUT_REASONS
from image_grounding.results.finished import load_index
from image_grounding.results.folder import ResultsFolder
from image_grounding.results.places import MASK
from image_grounding.run.estimate import Estimate
from image_grounding.run.progress import Reporter
from image_grounding.run.run import input_of
from image_grounding.run.shard_folder import require_shard
from image_grounding.run.sharing import neighbours
from image_grounding.spec import Spec
from image_grounding.steps.step import Earlier
from image_grounding.steps.table import chosen_steps, given_steps
from image_grounding.teachers import make_teacher

_AHEAD = 256
_THREADS = 8
_SIZES_KEPT = 10_000
_SAY_EVERY = 100_000
_NOTHING = Finished({}, Earlier())
_IMAGE_REASONS = sorted(INPUT_REASONS - {"bad_line"})


class DryRun:
    """What a run of a spec would find and do; ``plain`` after ``look``.

    Of all images the headers are read; only a decoded one is known to be whole. Memory grows by
    some 30 bytes for each sample and image, for telling repeated ones.

    Args:
        spec: of the run.
        reporter: shows how far it is.
        pilot: which samples; None for all.
        decode: how many images, from the first on, are decoded as the run will; None for all.
        shard: the part of the input; None for all of it.
        discount: what the tokens cost, as a share of the spec's prices.

    Raises:
        InputError: the input cannot be read, has no lines, or the results folder holds another
            shard.
        SpecError: the backend's packages are missing.
    """

    def __init__(
        self,
        spec: Spec,
        reporter: Reporter,
        pilot: Pilot | None = None,
        decode: int | None = 1000,
        shard: Shard | None = None,
        *,
        discount: float = 1.0,
    ) -> None:
        steps = chosen_steps(spec.workflow.steps)
        self._spec = spec
        self._reporter = reporter
        self._shard = shard
        self._selection = Selection(input_of(spec, steps, shard), pilot)
        folder = ResultsFolder(spec.results_dir)
        require_shard(folder, shard, spec.results)
        self._stores = [folder.checkpoints(step) for step in steps]
        kept = any(store.state() != [] for store in self._stores)
        self._recall = kept and not spec.workflow.force_reprocess
        known = {store.step: store for store in self._stores}
        self._index = load_index(folder, known) if self._recall else None
        self._given = bool(given_steps(steps))
        teacher = make_teacher(spec, reporter.say)
        self._profile = teacher.profile
        self._asks = teacher.capabilities.needs_endpoint
        self._estimate = Estimate(spec.vlm, discount)
        self._decode = decode
        self._to_decode: set[int] = set()
        self._whole = 0
        self._asked_together = False  # whether one of the neighbours is asked for
        self._lines = self._samples = self._repeated = self._finished = 0
        self._unusable = FirstFew()
        self._reasons: Counter[str] = Counter()
        self._wrong_sizes = FirstFew()
        self._images = Ids()
        self._bad_images: Counter[str] = Counter()

    @property
    def exit_code(self) -> Exit:
        """DONE, SOME_FAILED where lines cannot be used, USAGE where none can.

        A shard may hold no sample.
        """
        if self._samples == 0 and not self._shard:
            return Exit.USAGE
        return Exit.SOME_FAILED if self._unusable.total else Exit.DONE

    def look(self) -> None:
        """Go through the input once."""
        for group in neighbours(self._with_sizes(), self._profile.captions, lambda entry: entry[0]):
            self._asked_together = False
            for item, size in group:
                self._look_at_line(item, size)

    def _look_at_line(self, item: Sample | BadLine, size: Size | SampleError) -> None:
        self._lines += 1
        if self._lines % _SAY_EVERY == 0:
            self._reporter.say(f"{self._lines} of {self._selection.total} lines looked at")
        if isinstance(item, BadLine):
            self._reject(item.line, item.error)
        elif item.occurrence > 1:
            self._repeated += 1
        else:
            self._count_image(item, size)
            try:
                self._look_at(item, size)
            except SampleError as error:
                self._reject(item.line, error)
            else:
                self._samples += 1

    def _with_sizes(self) -> Iterator[tuple[Sample | BadLine, Size | SampleError]]:
        """Each item with the size of its image, or what is wrong with it; some are read ahead."""
        ahead: deque[tuple[Sample | BadLine, Future[Size | SampleError] | None]] = deque()
        with ThreadPoolExecutor(_THREADS, "images") as pool:

            @lru_cache(_SIZES_KEPT)
            def measured(image: str, whole: bool) -> Future[Size | SampleError]:
                return pool.submit(self._measure, image, whole)

            for item in self._selection:
                if isinstance(item, BadLine):
                    ahead.append((item, None))
                else:
                    whole = self._is_decoded(item.image)
                    ahead.append((item, measured(item.image, whole)))
                if len(ahead) == _AHEAD:
                    yield _settled(*ahead.popleft())
            while ahead:
                yield _settled(*ahead.popleft())

    def _is_decoded(self, image: str) -> bool:
        key = hash(image)
        if self._decode is None or len(self._to_decode) < self._decode:
            self._to_decode.add(key)
        return key in self._to_decode

    def _measure(self, source: str, whole: bool) -> Size | SampleError:
        try:
            size = upright_size(source)
            if whole:
                open_upright(source, self._profile.transport)
            return size
        except SampleError as error:
            return SampleError(error.reason, str(error))  # without a traceback, which holds a lot

    def _look_at(self, sample: Sample, size: Size | SampleError) -> None:
        if self._index and self._index.find(sample) is not None:
            self._finished += 1
            return
        done = _NOTHING
        if self._recall or self._given:
            done = load_finished(sample, self._stores, recall=self._recall)
        if len(done.checkpoints) == len(self._stores):
            self._finished += 1  # whatever has become of its image
            return
        if isinstance(size, SampleError):
            raise size
        if warning := wrong_size(sample, size):
            self._wrong_sizes.add(warning)
        for store in self._stores[len(done.checkpoints) :]:
            if cost := store.step.cost(sample, size, done.earlier, self._profile):
                shares = cost.common_tokens > 0
                together = shares and self._asked_together
                self._asked_together |= shares
                self._estimate.add(store.step, cost.beside_another() if together else cost, size)

    def _count_image(self, sample: Sample, size: Size | SampleError) -> None:
        key = hash(sample.image)
        if self._images.add(key & MASK):
            if isinstance(size, SampleError):
                self._bad_images[size.reason] += 1
            else:
                self._whole += key in self._to_decode

    def _reject(self, line: int, error: SampleError) -> None:
        self._reasons[error.reason] += 1
        self._unusable.add({"line": line, "reason": error.reason, "message": str(error)})

    def plain(self) -> dict[str, Any]:
        """The report, fit for JSON."""
        status = {
            Exit.DONE: "ready",
            Exit.SOME_FAILED: "some lines cannot be used",
            Exit.USAGE: "no line can be used",
        }
        pilot = self._selection.pilot
        return {
            "exit_code": int(self.exit_code),
            "status": status[self.exit_code],
            "dry_run": True,
            "input": str(self._selection.source.path),
            "results_dir": self._spec.results,
            "steps": [store.step.number for store in self._stores],
            "selection": pilot.plain() if pilot else None,
            "shard": self._shard.plain() if self._shard else None,
            "lines": self._lines,
            "samples": self._samples,
            "finished": self._finished,
            "repeated_lines": self._repeated,
            "images": {
                "unique": len(self._images),
                "decoded": self._whole,
                **{reason: self._bad_images[reason] for reason in _IMAGE_REASONS},
            },
            "unusable": {
                "total": self._unusable.total,
                "by_reason": dict(self._reasons),
                "first": self._unusable.first,
            },
            "wrong_sizes": {"total": self._wrong_sizes.total, "first": self._wrong_sizes.first},
            # The embedded annotator asks nobody.
            "estimate": self._estimate.plain() if self._asks else None,
        }


def _settled(
    item: Sample | BadLine, size: Future[Size | SampleError] | None
) -> tuple[Sample | BadLine, Size | SampleError]:
    if isinstance(item, BadLine):
        return item, item.error
    assert size
    return item, size.result()
