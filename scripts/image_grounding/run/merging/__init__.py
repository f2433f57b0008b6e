# SPDX-License-Identifier: Apache-2.0
"""Results folders of shards into one, as a run over the whole input leaves it."""

from image_grounding.run.merging.merge import Merged, merge

__all__ = ["Merged", "merge"]
