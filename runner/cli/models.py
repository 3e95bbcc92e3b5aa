"""`rivya-batch models`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from runner.cli.output import json_option, show, show_json
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.contract import Contract


@click.command("models")
@click.argument("model", required=False)
@json_option
def command(model: str | None, as_json: bool) -> None:
    """List the models, or show what MODEL accepts and costs. `models sync` reads the service's own list.

    The list is kept in the workspace. Manifests may then use what it has beside the bundled contracts.
    """
    if model == "sync":
        sync(as_json=as_json)
        return
    from runner.contract import suggest
    from runner.schemas import load_contracts

    contracts = load_contracts()
    if model is None:
        found = [contracts[name] for name in contracts]
        if as_json:
            show_json({"v": 1, "models": [as_object(contract) for contract in found]}, indent=2)
        else:
            show("\n".join(line(contract) for contract in found))
        return
    if model not in contracts:
        near = suggest(model, list(contracts))
        raise UsageError(
            f"there is no model {model!r}",
            hint=f"did you mean {near}?" if near else "`rivya-batch models` lists them",
        )
    contract = contracts[model]  # type: ignore[index]  # a str that is a key is a ModelId
    if as_json:
        show_json({"v": 1, **as_object(contract)}, indent=2)
    else:
        show("\n".join(page(contract)))


def sync(*, as_json: bool) -> None:
    """Read the service's list, store it, and print what differs."""
    from runner.api.models import sync_models
    from runner.host.workspace import find_workspace

    found = sync_models(find_workspace(None, state=None, sandbox=False))
    if as_json:
        rows = [
            {
                "model": item.model,
                "key": item.key,
                "change": item.change.value,
                "bundled": item.bundled,
                "live": item.live,
            }
            for item in found.differences
        ]
        show_json({"v": 1, "models": found.models, "path": str(found.path), "differences": rows}, indent=2)
        return
    for item in found.differences:
        show(str(item))
    show(
        f"{found.models} models at the service, {len(found.differences)} differences; stored in {found.path}"
    )


def line(contract: Contract) -> str:
    """Return one model as one line."""
    from runner.progress.figures import counted

    gaps = "" if contract.complete else "  (contract has gaps)"
    uploads = contract.uploads.max_files
    takes = f"  up to {counted(uploads, 'reference')}" if uploads else ""
    return f"{contract.id:<28} {contract.category:<6} {contract.base_credits:>4} credits{takes}{gaps}"


def page(contract: Contract) -> list[str]:
    """Return one model as a page."""
    lines = [
        f"{contract.id}: {contract.display_name}, {contract.category}",
        f"credits    {contract.base_credits} list price ({contract.billing_type}); the real price may be higher",
        f"prompt     {'required' if contract.prompt_required else 'optional'}"
        + (
            f", at most {contract.max_prompt_length} characters"
            if contract.max_prompt_length
            else ", no limit documented"
        ),
    ]
    for param in contract.params.values():
        if param.options:
            accepts = " | ".join(param.options)
        elif param.minimum is not None or param.maximum is not None:
            least = "" if param.minimum is None else f"{param.minimum:g}"
            most = "" if param.maximum is None else f"{param.maximum:g}"
            accepts = f"{least}..{most}" + (f" step {param.step:g}" if param.step else "")
        else:
            accepts = param.type.value
        default = f"  default {param.default}" if param.default is not None else ""
        need = "  required" if param.required else ""
        lines.append(f"  {param.key:<22} {accepts}{default}{need}")
    uploads = contract.uploads
    for kind in uploads.kinds:
        types = "of undocumented types" if kind.mime is None else ", ".join(kind.mime)
        lines.append(f"references up to {uploads.max_files or '?'}: {kind.kind} {types}".rstrip())
    if not uploads.kinds and uploads.max_files == 0:
        lines.append("references none")
    if not contract.complete:
        lines.append("warning    this contract has gaps: unknown params are sent with a warning")
    lines.append(f"source     {contract.source}")
    return lines


def as_object(contract: Contract) -> dict[str, Any]:
    """Return a contract as its file holds it."""
    from runner.schemas import schemas_dir

    path = schemas_dir() / "contracts" / f"{contract.id}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
