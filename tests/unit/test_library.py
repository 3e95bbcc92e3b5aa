"""As a library: whoever imports us keeps the process as it was."""

from __future__ import annotations

import subprocess
import sys

from tests.support import clean_environment

LOOK = """
import gc, os, pkgutil, signal, sys
from importlib import import_module

def about_the_process():
    return dict(os.environ), {each: signal.getsignal(each) for each in signal.valid_signals()}, gc.get_freeze_count()

before = about_the_process()
import runner
assert {name for name in sys.modules if name.startswith("runner")} == {"runner"}
for module in pkgutil.walk_packages(runner.__path__, "runner."):
    if not module.name.startswith(("runner.cli", "runner.sandbox", "runner.__main__")):
        import_module(module.name)
from runner.service.transports import make_transport
make_transport("https://rivya.ai", 2)
assert about_the_process() == before
import httpx, httpx._main, ssl
from aiohttp import connector
assert httpx.main is httpx._main.main
assert connector._SSL_CONTEXT_VERIFIED.cert_store_stats() == ssl.create_default_context().cert_store_stats()
"""


def test_to_import_and_use_it_changes_nothing_about_the_process() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOOK], env=clean_environment(), capture_output=True, text=True, check=False
    )

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
