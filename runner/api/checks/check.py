"""One line of what `doctor` says: what was found, how bad it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.errors import EXIT_PRECEDENCE, Exit, RunnerError
from runner.host.surroundings import Finding, Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `code` is what a run would end with for it; OK where it would not."""

    finding: Finding
    code: Exit = Exit.OK


def fine(what: str, found: str, *, of: str = "", do: str = "") -> Check:
    """Return a check that found nothing wrong."""
    return Check(finding=Finding(what=what, of=of, found=found, weight=Weight.FINE, do=do))


def warning(what: str, found: str, *, of: str = "", do: str = "", code: Exit = Exit.OK) -> Check:
    """Return a check of something that a run tells and goes on with."""
    return Check(finding=Finding(what=what, of=of, found=found, weight=Weight.WARNING, do=do), code=code)


def stop(what: str, found: str, *, code: Exit, of: str = "", do: str = "") -> Check:
    """Return a check of something that a run does not begin with."""
    return Check(finding=Finding(what=what, of=of, found=found, weight=Weight.STOP, do=do), code=code)


def of_error(what: str, error: RunnerError) -> Check:
    """Return an error of a look as a check."""
    return stop(what, error.message, code=error.exit_code, do=error.hint)


def of_finding(finding: Finding) -> Check:
    """Return a finding of this machine and its network as a check: what stops a run is temporary trouble."""
    return Check(finding=finding, code=Exit.TEMPORARY if finding.weight is Weight.STOP else Exit.OK)


def worst(checks: Iterable[Check]) -> Exit:
    """Return the exit code of all together: nothing was sent that could cost, so bad usage comes first."""
    codes = {check.code for check in checks}
    return next((code for code in (Exit.FAULT, Exit.USAGE, *EXIT_PRECEDENCE[1:]) if code in codes), Exit.OK)
