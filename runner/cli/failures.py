"""What went wrong in a run, by kind, each with what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runner.cli.plan_words import HEAD, wrapped
from runner.progress.figures import counted, in_credits
from runner.service.protocol import FailureClass
from runner.words import harmless

if TYPE_CHECKING:
    from runner.cli.typed import Advice
    from runner.store.reporting import FailedJobs

LONGEST = 200  # letters of what the service says
RED, YELLOW = "31", "33"
_REMEDIES = {
    FailureClass.POLICY.value: "edit the prompt, then run again: as it is, it is likely to be refused again",
    FailureClass.VALIDATION.value: "mend the job in the manifest, then run again: trying it again will not help",
    FailureClass.CREDITS.value: "the account had too few: top it up, then `rivya-batch retry MANIFEST --class credits`",
    FailureClass.GENERATION.value: "it may work another time: `rivya-batch retry MANIFEST --class generation`",
}
_UNCERTAIN = (
    "the service may have accepted it or not: look at the account's history,"
    " then `rivya-batch resolve MANIFEST {job}`"
)


def failure_lines(groups: Sequence[FailedJobs], advice: Advice) -> Iterator[tuple[str, str]]:
    """Yield (line, colour) for each kind of failure: how many, what was said, whose, and what to do.

    Args:
        groups: The kinds.
        advice: Completes the commands that are named.
    """
    for group in groups:
        failed = group.state == "failed"
        message = harmless(group.message, limit=LONGEST)
        said = f"{group.error_class}: {message}" if failed else message
        whose = harmless(group.jobs[0]) if group.jobs else ""
        if group.number == 1 and whose:
            text = f"{whose}  {said}"
        else:
            text = f"{group.number:,} {said}"
        # Not wrapped: whoever looks for an id in a log finds it on the line that says what it is.
        yield f"{group.state:<{HEAD - 1}} {text}".rstrip(), RED if failed else YELLOW
        if group.number > 1:
            more = group.number - len(group.jobs)
            ids = ", ".join(map(harmless, group.jobs)) + (f" and {more:,} more" if more else "")
            for line in wrapped(ids, indent=" " * HEAD, first=" " * HEAD):
                yield line, ""
        for line in wrapped(advice.typed(_remedy(group)), indent=" " * (HEAD + 2), first=f"{' ' * HEAD}→ "):
            yield line, ""


def _remedy(group: FailedJobs) -> str:
    if group.state != "failed":
        return _UNCERTAIN.format(job=shlex.quote(harmless(group.jobs[0])) if group.number == 1 else "ID")
    words = _REMEDIES.get(
        group.error_class, f"try again: `rivya-batch retry MANIFEST --class {group.error_class}`"
    )
    if " retry " not in words or not group.credits:
        return words
    each = counted(group.number, "job")
    return f"{words} (about {in_credits(group.credits)} for {each}; it asks first)"
