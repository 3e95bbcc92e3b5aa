"""Judges the prompt of a job."""

from __future__ import annotations

from runner.contract.terms import Contract, ParamProblem
from runner.model import Severity


def check_prompt(contract: Contract, prompt: str | None) -> ParamProblem | None:
    """Return what is wrong with a prompt after expansion, or None.

    The limit counts characters. Where the count in UTF-16 units, which a service written in
    JavaScript may use, passes the limit and the count in characters does not, it is a warning.
    """
    if prompt is None or not prompt.strip():
        if contract.prompt_required is False and prompt is None:
            return None
        state = "is missing" if prompt is None else "is blank"
        return ParamProblem(
            key="prompt",
            what=f"the prompt {state}; {contract.id} needs one",
            code="missing-prompt" if prompt is None else "blank-prompt",
            hint="write `prompt:` in the job or at the top of the manifest",
            # A live entry that says nothing about prompts forbids none.
            severity=Severity.WARNING if contract.prompt_required is None else Severity.ERROR,
        )
    if "\0" in prompt:
        return ParamProblem(
            key="prompt",
            what="the prompt holds a NUL character (U+0000)",
            code="control-character",
            hint="delete it; it may be written as \\0 or \\u0000",
        )
    limit = contract.max_prompt_length
    if limit is None or len(prompt) * 2 <= limit:
        return None
    length = len(prompt)
    if length > limit:
        return ParamProblem(
            key="prompt",
            what=f"the prompt has {length:,} characters; {contract.id} takes at most {limit:,}",
            code="prompt-too-long",
            hint=f"shorten it by {length - limit:,}",
        )
    if prompt.isascii():
        return None
    units = length + sum(1 for character in prompt if character > "\uffff")
    if units <= limit:
        return None
    return ParamProblem(
        key="prompt",
        what=f"the prompt has {length:,} characters, but {units:,} if the service counts emoji as two;"
        f" {contract.id} takes at most {limit:,}",
        code="prompt-maybe-too-long",
        hint="it may be refused; shorten it to be sure",
        severity=Severity.WARNING,
    )
