# SPDX-License-Identifier: Apache-2.0
"""The rows, by group."""

from faults.rows import (
    answer,
    endpoint,
    injection,
    picture,
    reply,
    secret,
    signals,
    state,
    system,
)
from faults.rows import input as input_rows

FAULTS = (
    *input_rows.FAULTS,
    *picture.FAULTS,
    *endpoint.FAULTS,
    *answer.FAULTS,
    *reply.FAULTS,
    *state.FAULTS,
    *system.FAULTS,
    *signals.FAULTS,
    *secret.FAULTS,
    *injection.FAULTS,
)
