"""`rivya-batch models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.output import json_option, show, show_json
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.api.models import Synced
    from runner.contract import Contract
    from runner.contract.catalogue import Difference


@click.command("models")
@click.argument("model", required=False)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def command(model: str | None, file: Path | None, as_json: bool) -> None:
    """List the models, or show what MODEL accepts and costs.

    `models sync` reads the service's own list; `models import FILE` a saved page of a model, or JSON. Both are kept in
    the workspace, decide what its manifests may say, and tell which manifests a change touches.
    """
    from runner.host.workspace import find_workspace

    workspace = find_workspace(None, state=None, sandbox=False)
    if model in ("sync", "import"):
        from runner.api.models import import_models, sync_models

        if model == "sync" and file is not None:
            raise UsageError("`models sync` takes no file", hint="`models import FILE` does")
        if model == "sync":
            told(sync_models(workspace), "at the service", as_json=as_json)
        elif file is None:
            raise UsageError("`models import` needs a file", hint="a saved page of a model, or JSON")
        else:
            told(import_models(workspace, file), f"in {file}", as_json=as_json)
        return
    if file is not None:
        raise UsageError(f"there is nothing to do with {file}", hint="`models import FILE` reads one")
    from runner.api.manifests.contracts import contracts_for
    from runner.contract import suggest

    contracts = contracts_for(workspace, sandbox=False)
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


def told(found: Synced, where: str, *, as_json: bool) -> None:
    """Print what a sync or an import has found."""
    from runner.progress.figures import counted, near

    if as_json:
        show_json(
            {
                "v": 1,
                "models": found.models,
                "path": str(found.path),
                "schema": str(found.schema),
                "differences": [_row(item) for item in found.differences],
                "changed": [_row(item) for item in found.changed],
                "touched": {path: list(models) for path, models in found.touched.items()},
            },
            indent=2,
        )
        return
    for item in found.differences:
        show(str(item))
    differ = counted(len(found.differences), "difference")
    show(f"{counted(found.models, 'model')} {where}, {differ}; stored in {near(found.path)}")
    for item in found.changed:
        show(f"new here    {item}")
    for path, models in found.touched.items():
        show(f"touches     {near(Path(path))}: {', '.join(models)}")
    if found.changed:
        show(f"editors     # yaml-language-server: $schema={near(found.schema)}")


def _row(item: Difference) -> dict[str, Any]:
    change = item.change.value
    return {
        "model": item.model,
        "key": item.key,
        "change": change,
        "bundled": item.bundled,
        "live": item.live,
    }


def line(contract: Contract) -> str:
    """Return one model as one line."""
    from runner.progress.figures import counted

    gaps = "" if contract.complete else "  (contract has gaps)"
    uploads = contract.uploads.max_files
    takes = f"  up to {counted(uploads, 'reference')}" if uploads else ""
    price = "?" if contract.base_credits is None else f"{contract.base_credits:g}"
    status = "" if contract.callable else f"  ({contract.api_status or 'chat'}: not for jobs)"
    return f"{contract.id:<28} {contract.category:<6} {price:>4} credits{takes}{gaps}{status}"


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
    """Return a contract as its file holds it; one that was taken over, as it is known here."""
    from runner.contract.json_contract import contract_as_json
    from runner.schemas import load_contracts, schemas_dir

    if load_contracts().get(contract.id) != contract:
        return contract_as_json(contract)
    path = schemas_dir() / "contracts" / f"{contract.id}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
