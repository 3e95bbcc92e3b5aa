"""Takes the pictures of README.md from a real sandbox run: `make pictures`.

Wants playwright (requirements-extra.lock) and a chromium; everything happens in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browsing import until

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "manifests" / "pictures"
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
OPTIONS = "--duration 0.2:1 --seed 4 --faults flaky"
# Films bring their posters a little later.
PAINTED = """() => {
    const seen = [...document.querySelectorAll('.tile')].filter(tile => tile.getBoundingClientRect().top < innerHeight);
    return seen.length > 0 && seen.every(tile => tile.querySelector('canvas, img, .words'));
}"""


def main() -> int:
    """Run the overnight example in the sandbox and photograph its page."""
    from playwright.sync_api import sync_playwright

    browser_path = next((path for path in BROWSERS if Path(path).exists()), None)
    if browser_path is None:
        print("no chromium here: apt install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "manifests", folder, dirs_exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "runner",
            "run",
            "05-overnight.yaml",
            "--sandbox",
            "--sandbox-options",
            OPTIONS,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=folder, env=environment, check=True)
        page_file = Path(folder) / "out" / "overnight" / "sandbox" / "report.html"
        TARGET.mkdir(exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            for name, scheme, tab in (("gallery", "light", None), ("grid", "dark", "#tab-grid")):
                page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme=scheme)
                page.goto(page_file.as_uri())
                if tab is not None:
                    page.click(tab)
                until(page, PAINTED)
                page.screenshot(path=TARGET / f"{name}.jpg", type="jpeg", quality=70)
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
