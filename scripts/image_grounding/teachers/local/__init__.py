# SPDX-License-Identifier: Apache-2.0
"""The embedded annotator; needs the extra ``local`` (numpy, onnxruntime)."""
