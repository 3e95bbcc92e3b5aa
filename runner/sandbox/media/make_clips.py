"""Draw the small clips the sandbox hands out as results. Run by hand, once.

Usage: `pip install av`, then `python runner/sandbox/media/make_clips.py`; tones are made where there is ffmpeg. All of it
is drawn here, so it is ours to give away with the rest. The clips are committed; nothing at run time needs these tools.
"""

from __future__ import annotations

import math
import random
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).resolve().parent
SECONDS, FPS = 2, 15
OVER = 2  # drawn so many times larger, then made smaller: edges are smooth

# Short sides near 180 pixels; even numbers, as yuv420p wants.
SIZES = {
    "1x1": (224, 224),
    "16x9": (320, 180),
    "9x16": (180, 320),
    "2x3": (192, 288),
    "3x2": (288, 192),
    "4x3": (256, 192),
    "3x4": (192, 256),
    "21x9": (392, 168),
    "9x21": (168, 392),
}

Colour: TypeAlias = tuple[int, int, int]
# Of each look: the sky above and below, what shines, what is near.
PALETTES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    ((38, 70, 120), (250, 190, 140), (255, 226, 170), (24, 38, 60)),  # morning
    ((46, 22, 66), (236, 96, 84), (255, 196, 110), (26, 14, 40)),  # evening
    ((12, 20, 44), (46, 84, 122), (226, 236, 246), (8, 14, 28)),  # night
)

# Three notes each, in hertz.
CHORDS = ((261.63, 329.63, 392.0), (220.0, 277.18, 329.63), (293.66, 369.99, 440.0))


class Scene:
    """One picture of a clip while it is drawn. `t` runs from 0 to 1; what it draws at both is the same."""

    def __init__(self, size: tuple[int, int], look: int, t: float) -> None:
        from PIL import Image, ImageDraw

        self.w, self.h = size[0] * OVER, size[1] * OVER
        self.t, self.turn = t, 2 * math.pi * t
        self.top, self.low, self.light, self.near = PALETTES[look]
        self.chance = random.Random(look + 11)
        self.image = Image.new("RGB", (self.w, self.h))
        self.draw = ImageDraw.Draw(self.image)
        self.unit = min(self.w, self.h)

    def fade(self, above: Colour, below: Colour, top: float = 0.0, bottom: float = 1.0) -> None:
        """Fill a stretch with one colour running into another."""
        first, last = int(top * self.h), int(bottom * self.h)
        for y in range(first, last):
            self.draw.line(((0, y), (self.w, y)), mix(above, below, (y - first) / max(1, last - first)))

    def sun(self, x: float, y: float, radius: float) -> None:
        """Draw a disc with a glow."""
        from PIL import Image, ImageDraw

        reach = radius * 3.2 * self.unit
        glow = Image.new("L", (self.w, self.h))
        pen = ImageDraw.Draw(glow)
        for n in range(24):
            r = reach * (1 - n / 24)
            pen.ellipse(around(x * self.w, y * self.h, r), fill=int(4 + 5 * n))
        self.image.paste(self.light, (0, 0), glow)
        self.draw.ellipse(around(x * self.w, y * self.h, radius * self.unit), fill=self.light)

    def ridge(self, base: float, height: float, colour: Colour, shift: float) -> None:
        """Draw hills from side to side."""
        waves = [(self.chance.uniform(1, 2) * n, self.chance.uniform(0, 6), 1 / n) for n in (1, 2, 4, 7)]
        points = [(0.0, float(self.h))]
        for x in range(0, self.w + 4, 4):
            at = x / self.unit + shift
            lift = sum(part * math.sin(rate * at * 2 + phase) for rate, phase, part in waves)
            points.append((x, self.h * base - self.unit * height * lift))
        self.draw.polygon([*points, (self.w, self.h)], fill=colour)


def around(x: float, y: float, radius: float, flat: float = 1.0) -> tuple[float, float, float, float]:
    """Return the box of a circle, or of one that was pressed flat."""
    return x - radius, y - radius * flat, x + radius, y + radius * flat


def mix(one: Colour, other: Colour, part: float) -> Colour:
    """Return a colour between two."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


def hills(s: Scene) -> None:
    """Mountains before the sun, seen from a train."""
    s.fade(s.top, s.low)
    s.sun(0.62, 0.36 - 0.03 * math.sin(s.turn), 0.09)
    for n in range(5):
        far = n / 4
        sway = 0.05 * far * math.sin(s.turn)
        s.ridge(0.5 + 0.12 * n, 0.05 + 0.012 * n, mix(mix(s.low, s.top, 0.5), s.near, far), sway + n * 3)


def water(s: Scene) -> None:
    """A boat on water, and the light on it."""
    line = 0.55
    s.fade(s.top, s.low, 0, line)
    s.sun(0.4, line - 0.13, 0.085)
    s.ridge(line + 0.01, 0.012, mix(s.low, s.near, 0.55), 0.0)
    s.fade(mix(s.low, s.near, 0.35), mix(s.top, s.near, 0.7), line, 1)
    for n in range(34):
        deep = n / 34
        y = (line + 0.015 + (1 - line) * deep**1.3) * s.h
        wide = s.unit * (0.02 + 0.16 * deep) * (0.7 + 0.3 * math.sin(s.turn + n * 1.9))
        x = (0.4 + 0.05 * math.sin(n * 2.4) * (0.4 + deep) + 0.01 * math.sin(s.turn + n)) * s.w
        s.draw.ellipse(
            (x - wide, y - 1.5, x + wide, y + 1.5 + 2 * deep), fill=mix(s.light, s.low, 0.25 + 0.4 * deep)
        )
    x, y, u = (0.68 + 0.02 * math.sin(s.turn)) * s.w, (0.66 + 0.006 * math.cos(s.turn)) * s.h, s.unit
    s.draw.polygon(
        [(x - 0.1 * u, y), (x + 0.1 * u, y), (x + 0.07 * u, y + 0.035 * u), (x - 0.07 * u, y + 0.035 * u)],
        fill=s.near,
    )
    s.draw.polygon(
        [(x, y - 0.2 * u), (x, y - 0.01 * u), (x + 0.09 * u, y - 0.01 * u)], fill=mix(s.light, s.low, 0.3)
    )
    s.draw.polygon(
        [(x - 0.008 * u, y - 0.16 * u), (x - 0.008 * u, y - 0.01 * u), (x - 0.06 * u, y - 0.01 * u)],
        fill=mix(s.light, s.near, 0.35),
    )


def city(s: Scene) -> None:
    """Roofs and windows, some of which are lit."""
    s.fade(s.top, s.low, 0, 0.9)
    s.sun(0.74, 0.22, 0.06)
    for layer in range(3):
        colour = mix(mix(s.low, s.top, 0.55), s.near, 0.25 + 0.37 * layer)
        lit = mix(s.light, s.low, 0.15)
        x = -0.3 * s.unit + 0.02 * (layer + 1) * s.unit * math.sin(s.turn)
        while x < s.w + 0.2 * s.unit:
            wide = s.chance.uniform(0.1, 0.2) * s.unit
            top = s.h * (0.36 + 0.16 * layer) + s.chance.uniform(-0.12, 0.1) * s.h
            s.draw.rectangle((x, top, x + wide, s.h), fill=colour)
            if layer:
                step = 0.036 * s.unit
                for row in range(int((s.h - top) / step) - 1):
                    for column in range(int(wide / step) - 1):
                        seed, phase = s.chance.random(), s.chance.random()
                        if seed < 0.3 and (seed > 0.05 or math.sin(s.turn + 6 * phase) > 0):
                            left, high = x + (column + 0.7) * step, top + (row + 0.7) * step
                            s.draw.rectangle((left, high, left + 0.5 * step, high + 0.55 * step), fill=lit)
            x += wide + s.chance.uniform(0.0, 0.03) * s.unit


def forest(s: Scene) -> None:
    """Trunks in the mist, and the sun behind them."""
    pale = mix(s.low, s.light, 0.35)
    s.fade(mix(s.top, pale, 0.35), pale)
    s.sun(0.5, 0.42, 0.11)
    for layer in range(4):
        colour = mix(pale, s.near, 0.16 + 0.28 * layer)
        s.ridge(0.74 + 0.08 * layer, 0.014, colour, layer * 2.0)
        x = s.chance.uniform(-0.1, 0) * s.unit + 0.012 * (layer + 1) ** 2 * s.unit * math.sin(s.turn)
        while x < s.w:
            wide = (0.012 + 0.014 * layer) * s.unit * s.chance.uniform(0.7, 1.3)
            lean = s.chance.uniform(-0.02, 0.02) * s.unit
            foot = (0.78 + 0.08 * layer) * s.h
            s.draw.polygon(
                [(x + lean, 0), (x + lean + wide * 0.8, 0), (x + wide * 1.2, foot), (x - wide * 0.2, foot)],
                fill=colour,
            )
            x += s.chance.uniform(0.12, 0.3) * s.unit * (1 + 0.25 * layer)


def product(s: Scene) -> None:
    """A bottle on a plinth, with a light that goes round it."""
    u, x = s.unit, 0.5 * s.w
    s.fade(mix(s.top, s.low, 0.35), mix(s.low, s.light, 0.25), 0, 0.72)
    s.fade(mix(s.low, s.near, 0.35), mix(s.low, s.near, 0.6), 0.72, 1)
    s.sun(0.5 + 0.1 * math.sin(s.turn), 0.4, 0.2)
    foot = 0.8 * s.h
    s.draw.ellipse(
        around(x - 0.12 * u * math.sin(s.turn), foot + 0.05 * u, 0.4 * u, 0.16), fill=mix(s.low, s.near, 0.72)
    )
    s.draw.rectangle(
        (x - 0.25 * u, foot - 0.02 * u, x + 0.25 * u, foot + 0.1 * u), fill=mix(s.light, s.low, 0.55)
    )
    s.draw.ellipse(around(x, foot + 0.1 * u, 0.25 * u, 0.16), fill=mix(s.light, s.low, 0.55))
    s.draw.ellipse(around(x, foot - 0.02 * u, 0.25 * u, 0.16), fill=mix(s.light, s.low, 0.25))
    glass = mix(s.near, s.top, 0.45)
    top = foot - 0.5 * u
    s.draw.rounded_rectangle((x - 0.1 * u, top + 0.14 * u, x + 0.1 * u, foot), 0.045 * u, fill=glass)
    s.draw.rounded_rectangle((x - 0.038 * u, top, x + 0.038 * u, top + 0.2 * u), 0.015 * u, fill=glass)
    s.draw.rounded_rectangle(
        (x - 0.045 * u, top - 0.03 * u, x + 0.045 * u, top + 0.03 * u), 0.012 * u, fill=s.near
    )
    s.draw.rectangle((x - 0.1 * u, top + 0.25 * u, x + 0.1 * u, top + 0.4 * u), fill=mix(s.light, s.low, 0.2))
    s.draw.rectangle((x - 0.06 * u, top + 0.3 * u, x + 0.06 * u, top + 0.315 * u), fill=glass)
    s.draw.rectangle((x - 0.04 * u, top + 0.335 * u, x + 0.04 * u, top + 0.345 * u), fill=glass)
    shine = x + 0.065 * u * math.sin(s.turn)
    s.draw.rounded_rectangle(
        (shine - 0.01 * u, top + 0.17 * u, shine + 0.01 * u, foot - 0.04 * u),
        0.01 * u,
        fill=mix(glass, s.light, 0.6),
    )


SCENES: dict[str, Callable[[Scene], None]] = {
    "hills": hills, "water": water, "city": city, "forest": forest, "product": product,
}  # fmt: skip


def main() -> None:
    """Write every clip beside this file and print how large they are together."""
    for old in HERE.glob("*.mp4"):
        old.unlink()
    for aspect, size in SIZES.items():
        for name, scene in SCENES.items():
            for look in range(len(PALETTES)):
                _video(HERE / f"{aspect}-{name}-{look}.mp4", size, scene, look)
    if shutil.which("ffmpeg"):
        for look, notes in enumerate(CHORDS):
            _tone(HERE / f"tone-{look}.mp3", notes, ["-c:a", "libmp3lame", "-b:a", "48k"])
            _tone(HERE / f"tone-{look}.ogg", notes, ["-c:a", "libopus", "-b:a", "32k"])
    total = sum(clip.stat().st_size for clip in HERE.iterdir() if clip.suffix != ".py")
    print(f"{total} bytes in all")


def _video(target: Path, size: tuple[int, int], scene: Callable[[Scene], None], look: int) -> None:
    import av
    from PIL import Image

    options = {"crf": "33", "preset": "veryslow", "profile": "main"}
    with av.open(str(target), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as film:
        stream: Any = film.add_stream("libx264", rate=FPS, options=options)
        pictures: Any = av.VideoFrame
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(SECONDS * FPS):
            drawn = Scene(size, look, number / (SECONDS * FPS))
            scene(drawn)
            frame = pictures.from_image(drawn.image.resize(size, Image.Resampling.LANCZOS))
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def _tone(target: Path, notes: tuple[float, ...], codec: list[str]) -> None:
    wave = "+".join(f"0.12*sin(2*PI*{note}*t)" for note in notes)
    fade = f"afade=t=in:d=0.05,afade=t=out:st={SECONDS - 0.6}:d=0.6"
    _ffmpeg(["-f", "lavfi", "-i", f"aevalsrc={wave}:s=44100:d={SECONDS}", "-af", fade, *codec], target)


def _ffmpeg(arguments: list[str], target: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *arguments]
    subprocess.run([*command, "-map_metadata", "-1", "-fflags", "+bitexact", str(target)], check=True)


if __name__ == "__main__":
    main()
