"""Password-locked models: hide a capability behind a password, then measure which elicitation methods find it."""

import time

__version__ = "0.1.0.dev0"
STARTED = time.monotonic()  # of this process; a run's manifest says how long the start took
