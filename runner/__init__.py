"""Batch runner for paid generation jobs on the Rivya AI Public API v1.

The version lives here and nowhere else: `pyproject.toml` reads it from this line. What programs use stands in
`runner.api.programs`, and is imported when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.api.programs import (
        Exit,
        InvalidManifest,
        Manifest,
        ObjectPath,
        Options,
        Plan,
        Resolution,
        Rounds,
        RunnerError,
        RunResult,
        Standing,
        export,
        load_manifest,
        plan,
        report,
        resolve,
        retry,
        run,
        run_sync,
        status,
    )

__version__ = "0.1.0"
__all__ = (
    "Exit",
    "InvalidManifest",
    "Manifest",
    "ObjectPath",
    "Options",
    "Plan",
    "Resolution",
    "Rounds",
    "RunResult",
    "RunnerError",
    "Standing",
    "export",
    "load_manifest",
    "plan",
    "report",
    "resolve",
    "retry",
    "run",
    "run_sync",
    "status",
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from runner.api import programs

        return getattr(programs, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
