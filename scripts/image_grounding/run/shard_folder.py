# SPDX-License-Identifier: Apache-2.0
"""Which shard a results folder holds; a run of another one is refused there."""

from image_grounding.errors import InputError
from image_grounding.input.shard import Shard
from image_grounding.results.folder import ResultsFolder
from image_grounding.steps.table import all_steps


def shard_in(folder: ResultsFolder) -> Shard | None:
    """The shard of the latest run into a folder; None for a whole input, or where none has run."""
    state = folder.read_state()
    return Shard.from_plain(state.shard if state else folder.read_summary().get("shard"))


def require_shard(folder: ResultsFolder, shard: Shard | None, named: str) -> None:
    """See that a folder holds nothing but what a run of ``shard`` may add to.

    Args:
        folder: the results.
        shard: of the run; None for the whole input.
        named: where the results are, for a person.

    Raises:
        InputError: finished samples of another shard, or of a whole input, are in it.
    """
    held = shard_in(folder)
    if held == shard or not any(folder.checkpoints(step).count() for step in all_steps()):
        return
    holds = f"shard {held}" if held else "results of a whole input"
    if held and shard and (held.number, held.of) == (shard.number, shard.of):
        holds += (
            ", made with another workflow.captions_per_request: more than 1 keeps captions of a "
            "picture in one shard"
        )
    raise InputError(
        f"{named} holds {holds}, and this run is of "
        f"{f'shard {shard}' if shard else 'the whole input'}: each needs a results_dir of its own"
    )
