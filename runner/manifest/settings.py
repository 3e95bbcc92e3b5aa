"""Reads the settings of a manifest: output, budget, limits, polling, retries, prices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from runner.contract import Contract
from runner.contract.phrases import shown
from runner.host.drives import DRIVES
from runner.manifest.findings import Spot
from runner.manifest.prices import read_prices
from runner.manifest.section import Section
from runner.manifest.texts import filled_in
from runner.model import (
    BUCKET_SCHEMES,
    RESEND_AFTER_S,
    RESEND_WITHIN_S,
    REUSE_UPLOADS_WITHIN_S,
    Budget,
    FailedRounds,
    Json,
    Limits,
    ModelId,
    ObjectPath,
    Polling,
    ResultPath,
    Settings,
)

_NEARLY_A_BUCKET: Final = re.compile(rf"({'|'.join(BUCKET_SCHEMES)}):/?", re.IGNORECASE)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,200}")
SHORTEST_RESEND_S: Final = 0.05
LONGEST_RESEND_S: Final = 3600.0  # retention of keys is undocumented; above this it is a bet


def read_settings(
    top: Section,
    *,
    name: str,
    path: Path,
    workspace: Path,
    variables: Mapping[str, Json],
    contracts: Mapping[ModelId, Contract],
) -> Settings:
    """Return the settings; whatever is absent or wrong has its default.

    Args:
        top: The whole manifest.
        name: Its name.
        path: Its file, absolute.
        workspace: The folder whose `out/<name>` is the default output.
        variables: What `output.dir` may use.
        contracts: The models that may have prices.
    """
    output = top.section("output")
    output_dir = None
    if output is not None:
        output_dir = _output_dir(output, path.parent, variables)
    resend_within_s, resend_after_s = _resends(top)
    return Settings(
        path=path,
        name=name,
        output_dir=output_dir or workspace / "out" / name,
        budget=_budget(top),
        limits=_limits(top),
        polling=_polling(top),
        failed_rounds=_failed_rounds(top),
        resend_within_s=resend_within_s,
        resend_after_s=resend_after_s,
        reuse_uploads_within_s=_reuse_within(top),
        prices=read_prices(top, contracts),
    )


def _output_dir(output: Section, folder: Path, variables: Mapping[str, Json]) -> ResultPath | None:
    text = output.text("dir")
    if text is None:
        return None
    spot = output.at("dir")
    result = filled_in(text, spot, variables, output.findings)
    if not isinstance(result, str) or not result.strip() or not result.isprintable():
        what = "output.dir cannot be a folder: it is empty or has invisible characters"
        output.findings.error(spot, what, "bad-folder")
        return None
    if result.startswith("~"):
        output.findings.error(spot, "`~` is not expanded in a manifest", "bad-folder", "write the whole path")
        return None
    if (place := _in_bucket(result, spot, output)) is not False:
        return place
    directory = (folder / result).absolute()
    DRIVES.wait_for(directory)
    if directory.exists() and not directory.is_dir():
        output.findings.error(spot, f"{shown(result)} is a file, not a folder", "bad-folder")
        return None
    return directory


def _in_bucket(text: str, spot: Spot, output: Section) -> ObjectPath | Literal[False] | None:
    """Return the place in a bucket that `output.dir` names, None where it cannot be one; False for a folder."""
    scheme, marks, rest = text.partition("://")
    if not marks:
        meant = _NEARLY_A_BUCKET.match(text)
        if meant is None:
            return False
        what = f"{shown(text)} would be a folder of this name, not a bucket"
        hint = f"write {meant[1].lower()}://{text[meant.end() :]}, or ./{text} for the folder"
        output.findings.error(spot, what, "bad-folder", hint)
        return None
    if scheme not in BUCKET_SCHEMES:
        known = " ".join(f"{each}://" for each in BUCKET_SCHEMES)
        output.findings.error(
            spot, f"{shown(text)} is neither a folder nor in a bucket ({known})", "bad-folder"
        )
        return None
    parts = rest.rstrip("/").split("/")
    if not _BUCKET.fullmatch(parts[0]):
        if "@" in parts[0]:
            what = "output.dir holds credentials: they come from the environment, never from here"
        else:
            what = f"{shown(text)} names no bucket: {scheme}://bucket/prefix"
        output.findings.error(spot, what, "bad-folder")
        return None
    if any(part in ("", ".", "..") for part in parts) or set(rest) & set("?#\\"):
        output.findings.error(spot, f"{shown(text)} cannot be a place in a bucket", "bad-folder")
        return None
    return ObjectPath(f"{scheme}://{'/'.join(parts)}")


def _budget(top: Section) -> Budget:
    section = top.section("budget")
    if section is None:
        return Budget()
    keys = ("max_credits", "max_credits_per_job", "max_credits_per_day")
    total, per_job, per_day = (section.number(key) for key in keys)
    return Budget(max_credits=total, max_credits_per_job=per_job, max_credits_per_day=per_day)


def _limits(top: Section) -> Limits:
    section = top.section("limits")
    base = Limits()
    if section is None:
        return base
    return Limits(
        requests_per_second=section.number("requests_per_second") or None,
        in_flight=section.integer("in_flight") or None,
        uploads=section.integer("uploads") or base.uploads,
        downloads=section.integer("downloads") or base.downloads,
        job_deadline_s=section.duration("job_deadline", base.job_deadline_s),
        max_result_bytes=section.size("max_result_bytes", base.max_result_bytes),
    )


def _polling(top: Section) -> Polling:
    section = top.section("polling")
    base = Polling()
    if section is None:
        return base
    first, low, high = (section.number(key) for key in ("first_s", "min_s", "max_s"))
    if low is not None and high is not None and low > high:
        what = f"max_s ({shown(high)}) is shorter than min_s ({shown(low)})"
        section.findings.error(section.at("max_s"), what, "out-of-range")
    # Written alone, one of them moves the default of the other out of its way.
    low_s = low if low is not None else min(base.min_s, high if high is not None else base.min_s)
    high_s = high if high is not None else max(base.max_s, low_s)
    return Polling(first_s=first if first is not None else base.first_s, min_s=low_s, max_s=high_s)


def _failed_rounds(top: Section) -> FailedRounds:
    section = top.section("retry")
    if section is None:
        return FailedRounds()
    by_class = section.section("failed_rounds")
    if by_class is None:
        return FailedRounds(generation=section.integer("failed_rounds") or 0)
    return FailedRounds(
        generation=by_class.integer("generation") or 0, policy=by_class.integer("policy") or 0
    )


def _resends(top: Section) -> tuple[float, float]:
    """Return `resend_within` and `resend_after` in seconds."""
    section = top.section("idempotency")
    within_s, after_s = RESEND_WITHIN_S, RESEND_AFTER_S
    if section is None:
        return within_s, after_s
    within_s, after_s = section.duration("resend_within", within_s), section.duration("resend_after", after_s)
    if within_s > LONGEST_RESEND_S:
        what = "resend_within is longer than 1h; how long the service remembers a key is not documented"
        hint = "if it has forgotten the key, sending it again pays again"
        top.findings.warn(section.at("resend_within"), what, "long-resend", hint)
    if after_s < SHORTEST_RESEND_S:
        what = f"resend_after is {shown(section.node['resend_after'])}; it takes a duration from 0.05s"
        top.findings.error(section.at("resend_after"), what, "out-of-range")
    elif after_s >= within_s:
        what = "resend_after is not shorter than resend_within: no unclear request is ever sent again"
        spot = section.at("resend_after" if section.has("resend_after") else "resend_within")
        top.findings.warn(spot, what, "no-resend", "each becomes `uncertain`, for you to decide")
    return within_s, after_s


def _reuse_within(top: Section) -> float:
    section = top.section("uploads")
    default_s = REUSE_UPLOADS_WITHIN_S
    return default_s if section is None else section.duration("reuse_within", default_s)
