"""The name of a manifest, read from its head only."""

from __future__ import annotations

from pathlib import Path

from runner.api.opening import read_manifest


def manifest_name(path: Path) -> str:
    """Return `name:` of a manifest, whatever is wrong with the rest of it."""
    opened = read_manifest(path, state=None, sandbox=False)
    assert opened.manifest.settings is not None
    return opened.manifest.settings.name
