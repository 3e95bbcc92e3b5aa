"""What the service's own description (GET /api/v1/openapi.json) lacks of what this client relies on. Pure.

The description may leave anything out; what it does not speak of is no difference. Only a path, a method or a field
that stands beside its siblings there and is missing is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runner.model import Json

RELIED_ON: Mapping[str, tuple[str, ...]] = {
    "/api/v1/generations": ("post",),
    "/api/v1/generations/{}": ("get",),
    "/api/v1/files": ("post",),
    "/api/v1/credits": ("get",),
    "/api/v1/models": ("get",),
}
REQUEST_FIELDS = ("model", "prompt", "params", "client_request_id")
DEEP = 12  # references to other parts that are followed


def missing_in(document: Mapping[str, Json] | None) -> list[str] | None:
    """Return what a description lacks, in words; None where it is no description of an API."""
    paths: Any = (document or {}).get("paths")
    if document is None or not isinstance(paths, Mapping) or not paths:
        return None
    prefix = _prefix(document)
    known = {_plain(prefix + str(path)): item for path, item in paths.items() if isinstance(item, Mapping)}
    lacking = []
    for path, methods in RELIED_ON.items():
        item = known.get(path)
        if item is None:
            lacking.append(f"path {path.replace('{}', '{id}')}")
            continue
        lacking += [
            f"{method.upper()} {path.replace('{}', '{id}')}" for method in methods if method not in item
        ]
    create = known.get("/api/v1/generations", {}).get("post")
    fields = set(_fields(create, document)) if isinstance(create, Mapping) else set()
    if fields:
        lacking += [f"request field {name}" for name in REQUEST_FIELDS if name not in fields]
    return lacking


def _prefix(document: Mapping[str, Json]) -> str:
    """Return the path of the server that all paths stand behind, where it has one."""
    servers: Any = document.get("servers")
    url = (
        servers[0].get("url")
        if isinstance(servers, list) and servers and isinstance(servers[0], Mapping)
        else ""
    )
    found = re.fullmatch(r"(?:https?://[^/]+)?(/.*)?", str(url or ""))
    return (found[1] or "").rstrip("/") if found else ""


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path.rstrip("/"))


def _fields(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    content = _followed(operation.get("requestBody"), document).get("content")
    for kind in content.values() if isinstance(content, Mapping) else ():
        if isinstance(kind, Mapping):
            yield from _properties(kind.get("schema"), document, DEEP)


def _properties(schema: Any, document: Mapping[str, Any], deep: int) -> Iterator[str]:
    found = _followed(schema, document)
    properties = found.get("properties")
    if isinstance(properties, Mapping):
        yield from properties
    for word in ("anyOf", "oneOf", "allOf"):
        parts = found.get(word)
        for part in parts if isinstance(parts, list) and deep else ():
            yield from _properties(part, document, deep - 1)


def _followed(part: Any, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part, or what it refers to inside the same document."""
    for _ in range(DEEP):
        where = part.get("$ref") if isinstance(part, Mapping) else None
        if not isinstance(where, str) or not where.startswith("#/"):
            break
        part = document
        for name in where[2:].split("/"):
            part = part.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}
