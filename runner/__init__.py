"""Batch runner for paid generation jobs on the Rivya AI Public API v1.

The version lives here and nowhere else: `pyproject.toml` reads it from this line.
"""

__version__ = "0.1.0"
