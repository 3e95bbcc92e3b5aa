"""What was measured on: the numbers mean little without it."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("httpx", "httpx-aiohttp", "aiohttp", "anyio", "pyyaml", "jsonschema")


def machine_lines() -> list[str]:
    """Return lines about this machine and the versions in use."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    known = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    load = "/".join(f"{part:.1f}" for part in os.getloadavg())
    return [
        f"machine   {_cpu()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
        f" cores, {memory_gb:.0f} GB, {platform.system()} {platform.release()}",
        f"software  Python {platform.python_version()} ({sys.implementation.name}), SQLite {sqlite3.sqlite_version},"
        f" {known}",
        f"load      {load} before the first measurement; the service is another process on loopback",
    ]


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
