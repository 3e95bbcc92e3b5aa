"""Batch runner for paid generation jobs on the Rivya AI Public API v1.

The version lives here and nowhere else: `pyproject.toml` reads it from this line.
"""

import sys
from typing import Any, cast

# httpx brings a command line of its own, with click and rich, and does without where it cannot be imported:
# a third of its import time for something that is never used here.
cast("dict[str, Any]", sys.modules).setdefault("httpx._main", None)

__version__ = "0.1.0"
