"""The page for a client: clips, a star and a word for each. It knows no money, no command, no key, and no prompt unasked."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from runner.reports.page import asset, policy_for


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientClip:
    """One result as a client sees it. `files` are (url beside the page, mime)."""

    id: str
    round: int
    title: str
    files: Sequence[tuple[str, str]]
    prompt: str | None = None


def client_page(title: str, manifest: str, workspace: str, clips: Sequence[ClientClip]) -> bytes:
    """Return the page.

    Args:
        title: What stands over it.
        manifest: The manifest's name, for the answer.
        workspace: Its random name, for what the browser keeps.
        clips: In the order in which they are shown.
    """
    items = [{name: value for name, value in asdict(clip).items() if value is not None} for clip in clips]
    data = {"v": 1, "manifest": manifest, "workspace": workspace, "items": items}
    style = asset("page.css") + asset("client.css")
    script = f'"use strict";\n(() => {{\n{asset("words.js")}\n{asset("client.js")}\n}})();\n'
    parts = {
        "policy": html.escape(policy_for(script, style)),
        "title": html.escape(title),
        "style": style,
        "data": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
        "script": script,
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], asset("client.html"))
    return text.encode("utf-8", "backslashreplace")
