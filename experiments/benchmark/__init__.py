"""Times this package beside plain PyTorch and against the machine's own limits.

Each contender runs in a process of its own, so that its peak memory is its own; all of them stay
alive and take turns, so that a machine that slows down slows everybody down.
"""

import os

# JAX would take most of an accelerator's memory, of which PyTorch beside it needs a part.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
