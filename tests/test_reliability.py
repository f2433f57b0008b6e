# SPDX-License-Identifier: Apache-2.0
"""The table of references/reliability.md is that of the matrix, which ``make test-faults`` runs."""

from collections import Counter

from faults.document import DOCUMENT, TITLES, groups, written
from faults.rows import FAULTS


def test_the_document_shows_the_rows() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == written(document), "make reliability"


def test_rows_are_many_and_each_is_one() -> None:
    names = Counter((fault.group, fault.name) for fault in FAULTS)
    assert len(names) == len(FAULTS) > 150
    assert list(groups()) == list(TITLES)
    assert {fault.group for fault in FAULTS if "gemini" in fault.backends} >= {
        "endpoint",
        "answer",
        "reply",
        "secret",
    }
