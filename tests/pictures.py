"""Takes the pictures of README.md from a real sandbox run: `make pictures`.

Wants playwright (requirements-extra.lock) and a chromium; everything happens in a temporary folder.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browsing import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "manifests" / "pictures"
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
OPTIONS = "--duration 0.2:1 --seed 4 --faults flaky"
# Films bring their posters a little later.
PAINTED = """() => {
    const seen = [...document.querySelectorAll('.tile')].filter(tile => tile.getBoundingClientRect().top < innerHeight);
    return seen.length > 0 && seen.every(tile => tile.querySelector('canvas, img, .words'));
}"""


# Of the moving picture: a window that shows the whole grid, how large it is in the end, and how long each frame stays.
WINDOW, SHOWN_PX, FRAME_MS = (1340, 880), 960, 250
NIGHT = "--duration 1:5 --seed 4"


def film(browser: Browser, folder: Path) -> None:
    """Film a night from its plan to its picks, as it is on one page: nothing of it is staged but the mouse."""
    command = [sys.executable, "-m", "runner"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    place = {"cwd": folder, "env": environment, "text": True}
    plan = subprocess.Popen(
        [*command, "plan", "05-overnight.yaml", "--sandbox", "--web", "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **place,  # type: ignore[call-overload]
    )
    frames: list[tuple[Image.Image, int]] = []
    page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]}, color_scheme="dark")

    def shoot(stay_ms: int = FRAME_MS) -> None:
        with Image.open(io.BytesIO(page.screenshot(type="png"))) as shot:
            small = shot.convert("RGB").resize((SHOWN_PX, SHOWN_PX * shot.height // shot.width))
        frames.append((small, stay_ms))

    try:
        page.goto(plan.stdout.readline().strip())
        page.wait_for_selector(".tile.planned")
        shoot(1600)
        page.click("#tab-grid")
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(300)
        shoot(1200)
        for column in ("fog", "clear night"):
            page.get_by_label(f"Submit all of {column}").click()
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(300)
            shoot(800)
        page.mouse.move(4, 4)
        run = subprocess.Popen(
            [*command, "run", "05-overnight.yaml", "--sandbox", "--sandbox-options", NIGHT],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **place,  # type: ignore[call-overload]
        )
        until(page, "document.querySelectorAll('.tile.done canvas').length > 1")
        while run.poll() is None:
            page.wait_for_timeout(450)
            shoot()
        until(page, PAINTED)
        page.wait_for_timeout(800)
        shoot(1200)
        page.keyboard.press("s")
        page.wait_for_timeout(900)
        shoot(900)
        for key in ("x", "p", "x", "p"):
            page.keyboard.press(key)
            page.wait_for_timeout(500)
            shoot(700)
        page.keyboard.press("Escape")
        page.wait_for_timeout(500)
        shoot(1600)
    finally:
        plan.terminate()
        plan.wait()
        page.close()
    kept = [
        each for at, each in enumerate(frames) if at == 0 or each[0].tobytes() != frames[at - 1][0].tobytes()
    ]
    kept[0][0].save(
        TARGET / "night.webp",
        save_all=True,
        append_images=[image for image, _ in kept[1:]],
        duration=[stay_ms for _, stay_ms in kept],
        loop=0,
        quality=55,
        method=6,
    )


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
            page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
            page.goto(page_file.as_uri())
            until(page, PAINTED)
            page.screenshot(path=TARGET / "gallery.jpg", type="jpeg", quality=70)
            shutil.rmtree(Path(folder) / "state")
            shutil.rmtree(Path(folder) / "out")
            film(browser, Path(folder))
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
