# SPDX-License-Identifier: Apache-2.0
"""Phrase-grounded training data from (image, caption) pairs, with a VLM as the teacher.

The flow, module by module: ``spec`` says what to do, ``samples`` reads the input,
``images`` makes the bytes to send and their frame, an annotator (``annotators``) asks a model
through ``endpoints`` with ``prompts`` and reads its answer with ``replies``, ``spans`` and
``boxes``; ``checkpoints`` keeps every finished step, ``pipeline`` runs it all at once and
``outputs`` writes what users read.
"""

__version__ = "0.1.0"
