"""The models the sandbox offers, read from the contract files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

Contract: TypeAlias = Mapping[str, Any]  # one contract file as parsed; schemas/README.md has the shape

# What the service's list shows of each model (docs: /docs/api-models); our own additions stay at home.
PUBLIC_FIELDS = (
    "id", "display_name", "category", "runtime", "base_credits", "billing_type", "supported_modes",
    "max_prompt_length", "reference_media", "params", "api_status", "api_input_status",
    "supported_api_inputs", "requires_files_api", "requires_upload_for_modes", "url_input_supported",
    "file_kinds", "chat_capabilities", "notices",
)  # fmt: skip

# Default upload limits (docs: /docs/api-files), for models whose own policy is not known.
DEFAULT_LIMITS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "image": (10, ("image/jpeg", "image/png", "image/webp")),
    "video": (50, ("video/mp4", "video/quicktime", "video/webm")),
    "audio": (10, ("audio/mpeg", "audio/mp4", "audio/wav", "audio/x-wav", "audio/aac", "audio/ogg")),
}
BYTES_PER_MB = 1024 * 1024  # MB or MiB is undocumented; the sandbox takes the larger


def contracts_folder() -> Path:
    """Return the folder of contract files: the packaged copy, else the checkout's."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_schemas" / "contracts"
    return packaged if packaged.is_dir() else package.parent / "schemas" / "contracts"


def load_catalogue(folder: Path | None = None) -> dict[str, Contract]:
    """Read every contract of a folder, by model id.

    Raises:
        FileNotFoundError: There is no contract at all.
    """
    folder = folder or contracts_folder()
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise FileNotFoundError(f"no model contracts in {folder}")
    return {contract["id"]: contract for contract in found}


def public_list(catalogue: Mapping[str, Contract]) -> dict[str, Any]:
    """Return the body of `GET /api/v1/models`."""
    return {
        "object": "list",
        "data": [{name: contract.get(name) for name in PUBLIC_FIELDS} for contract in catalogue.values()],
    }


def upload_limit(contract: Contract | None, kind: str) -> tuple[int, tuple[str, ...]] | None:
    """Return (largest size in bytes, accepted MIME types) for one kind, or None if the model takes none.

    A model whose policy is not known, and an upload for no model, get the documented defaults.
    """
    default_mb, default_mimes = DEFAULT_LIMITS[kind]
    uploads = (contract or {}).get("uploads") or {}
    if contract is not None and uploads.get("max_files") == 0:
        return None
    known = {entry["kind"]: entry for entry in uploads.get("kinds") or ()}
    if contract is not None and known and kind not in known:
        return None
    entry = known.get(kind, {})
    mimes = tuple(entry.get("mime") or default_mimes)
    return (entry.get("max_mb") or default_mb) * BYTES_PER_MB, mimes
