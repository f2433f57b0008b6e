# SPDX-License-Identifier: Apache-2.0
"""Replies that cannot be read: asked for once more, with room where they were cut."""

from dataclasses import dataclass

from image_grounding.replies import ReplyStatus
from image_grounding.steps.question import Failure, Finish, Question, Reply

# A reply that cannot be used is asked for once more.
MAX_ASKS = 2
MAX_EXCERPT = 300


@dataclass(frozen=True)
class Problem:
    """Why a reply cannot be used: the name of the failure, and what the reply is or has."""

    reason: str
    description: str
    cut: bool = False

    def question_again(self, question: Question) -> Question:
        """``question`` put in a way that may be answered better."""
        return question.with_room() if self.cut else question

    def failure(
        self, reply: Reply, attempts: int, dropped: dict[str, int] | None = None
    ) -> Failure:
        """The failure where asking again did not help."""
        message = f"the model's reply {self.description} (asked {attempts} times)"
        return Failure(self.reason, message, reply.text[:MAX_EXCERPT], attempts, dropped or {})


def unread(reply: Reply, status: ReplyStatus, *, open_ended: bool) -> Problem | None:
    """What keeps a reply from being read whole, or None.

    Args:
        reply: the reply.
        status: how well its text could be read.
        open_ended: the text may go on behind its end.
    """
    cut = reply.finish is Finish.LENGTH
    unparseable = status is ReplyStatus.UNPARSEABLE
    if status is ReplyStatus.TRUNCATED or (cut and (unparseable or open_ended)):
        return Problem("reply_truncated", "was cut before its end", cut=True)
    if status is ReplyStatus.REFUSED:
        return Problem("reply_refused", "is a refusal or an error")
    if unparseable:
        return Problem("reply_unparseable", "holds no JSON of the wanted kind")
    return None
