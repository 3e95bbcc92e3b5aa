"""Draw the small clips the sandbox hands out as results. Run by hand, once, where ffmpeg is installed.

Usage: `python runner/sandbox/media/make_clips.py`. The clips are committed; nothing at run time needs ffmpeg.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = 2

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

# (shape, speed, colours): each row is one look, in every aspect ratio.
LOOKS = (
    ("radial", 0.04, ("1b2a6b", "f26b4e", "ffd166")),
    ("spiral", 0.05, ("0b3d3a", "2ec4b6", "f4f1bb")),
    ("circular", 0.03, ("3d1766", "c84b9e", "ffb3a7")),
    ("linear", 0.06, ("10243e", "3f7cac", "d5e1ef", "f2a65a")),
    ("spiral", 0.03, ("2b0f1e", "b23a48", "fcb9b2")),
    ("radial", 0.05, ("12330f", "6a994e", "f2e8cf")),
)

# Three notes each, in hertz.
CHORDS = ((261.63, 329.63, 392.0), (220.0, 277.18, 329.63), (293.66, 369.99, 440.0))


def main() -> None:
    """Write every clip beside this file and print how large they are together."""
    for aspect, (width, height) in SIZES.items():
        for look, (shape, speed, colours) in enumerate(LOOKS):
            _video(HERE / f"{aspect}-{look}.mp4", f"{width}x{height}", shape, speed, colours, seed=7 + look)
    for look, notes in enumerate(CHORDS):
        _tone(HERE / f"tone-{look}.mp3", notes, ["-c:a", "libmp3lame", "-b:a", "48k"])
        _tone(HERE / f"tone-{look}.ogg", notes, ["-c:a", "libopus", "-b:a", "32k"])
    total = sum(clip.stat().st_size for clip in HERE.iterdir() if clip.suffix != ".py")
    print(f"{total} bytes in all")


def _video(target: Path, size: str, shape: str, speed: float, colours: tuple[str, ...], *, seed: int) -> None:
    palette = ":".join(f"c{i}=0x{colour}" for i, colour in enumerate(colours))
    drawing = f"s={size}:{palette}:n={len(colours)}:type={shape}:speed={speed}:r=24:d={SECONDS}:seed={seed}"
    codec = (
        "-c:v libx264 -profile:v baseline -pix_fmt yuv420p -crf 28 -preset veryslow -movflags +faststart -an"
    )
    _ffmpeg(["-f", "lavfi", "-i", f"gradients={drawing}", *codec.split()], target)


def _tone(target: Path, notes: tuple[float, ...], codec: list[str]) -> None:
    wave = "+".join(f"0.12*sin(2*PI*{note}*t)" for note in notes)
    fade = f"afade=t=in:d=0.05,afade=t=out:st={SECONDS - 0.6}:d=0.6"
    _ffmpeg(["-f", "lavfi", "-i", f"aevalsrc={wave}:s=44100:d={SECONDS}", "-af", fade, *codec], target)


def _ffmpeg(arguments: list[str], target: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *arguments]
    subprocess.run([*command, "-map_metadata", "-1", "-fflags", "+bitexact", str(target)], check=True)


if __name__ == "__main__":
    main()
