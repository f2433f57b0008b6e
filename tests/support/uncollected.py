# SPDX-License-Identifier: Apache-2.0
"""What the server of scripts imports first: next to nothing of what comes goes away again.

``warm``, which it imports last, puts the garbage collector to work again.
"""

import gc

gc.disable()
