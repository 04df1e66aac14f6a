"""Make the pictures, the video and the sound that ``python -m downloader.demo`` serves, out of formulas.

Run by hand where ffmpeg and Pillow are installed: ``python tests/make_demo_media.py``. Everything is written to
``downloader/demo/media`` and committed; nothing in it comes from anybody else.
"""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

from PIL import Image, ImageFilter

FOLDER = Path(__file__).resolve().parents[1] / "downloader" / "demo" / "media"
Colour = tuple[int, int, int]

NIGHT: list[Colour] = [(8, 10, 40), (32, 60, 140), (120, 190, 230), (255, 240, 190), (240, 130, 40), (90, 20, 50)]
DUSK: list[Colour] = [(30, 12, 60), (120, 30, 110), (230, 90, 90), (255, 190, 110), (255, 245, 220)]
SAND: list[Colour] = [(70, 40, 30), (150, 90, 50), (215, 160, 95), (245, 215, 160), (255, 245, 225)]
INK: list[Colour] = [(24, 30, 38), (70, 90, 100), (140, 160, 160), (205, 212, 205), (240, 238, 228)]


def paint(grey: Image.Image, colours: list[Colour]) -> Image.Image:
    """Map brightness to a run of colours."""
    table: list[list[int]] = [[], [], []]
    for level in range(256):
        position = level / 255 * (len(colours) - 1)
        index = min(int(position), len(colours) - 2)
        for channel in range(3):
            first, second = colours[index][channel], colours[index + 1][channel]
            table[channel].append(round(first + (second - first) * (position - index)))
    return Image.merge("RGB", [grey.point(channel) for channel in table])


def field(width: int, height: int, formula: object) -> Image.Image:
    """A picture of a function of x and y, both from 0 to 1, that returns 0 to 1."""
    assert callable(formula)
    values = bytes(
        max(0, min(255, round(255 * formula(x / width, y / height)))) for y in range(height) for x in range(width)
    )
    return Image.frombytes("L", (width, height), values)


def julia(x: float, y: float) -> float:
    """Escape time of a Julia set, smoothed."""
    z, c = complex(3.2 * x - 1.6, 2 * y - 1), complex(-0.79, 0.156)
    for count in range(90):
        z = z * z + c
        if abs(z) > 20:
            return math.sqrt((count + 2 - math.log2(math.log(abs(z)))) / 60)
    return 1.0


def mandelbrot(x: float, y: float) -> float:
    """Escape time of the Mandelbrot set near its seahorses, smoothed."""
    c = complex(-0.7453 + 0.006 * (x - 0.5), 0.1127 + 0.004 * (y - 0.5))
    z = 0j
    for count in range(400):
        z = z * z + c
        if abs(z) > 20:
            return (math.sin((count - math.log2(math.log(abs(z)))) / 14) + 1) / 2
    return 0.0


def aurora(x: float, y: float) -> float:
    """Curtains of light."""
    fold = math.sin(7 * x + 2 * math.sin(3 * y)) + math.sin(13 * x - 5 * y) / 2 + math.sin(4 * y + 9 * x * y) / 3
    return (0.5 + fold / 3.6) * (0.25 + 0.75 * math.sin(math.pi * min(1, 0.15 + y)))


def dunes(x: float, y: float) -> float:
    """Ripples of sand, lit from the side."""
    crest = y * 9 + 0.9 * math.sin(5 * x + 1) + 0.35 * math.sin(11 * x + 4 * y)
    return 0.2 + 0.75 * math.pow(crest % 1, 1.4) * (0.55 + 0.45 * math.sin(3 * x + y * 2))


def mountains(width: int, height: int) -> Image.Image:
    """Ranges behind each other, paler with distance."""
    picture = field(width, height, lambda _x, y: 0.95 - 0.2 * y)
    for layer in range(6):
        tone, base = round(210 - 36 * layer), height * (0.32 + 0.12 * layer)
        pixels = []
        for x in range(width):
            t = x / width * (3 + layer) + layer * 2.4
            ridge = sum(math.sin(t * 2**k * 1.3 + k * k + layer) / 1.9**k for k in range(7))
            pixels.append(base - ridge * height * 0.07)
        mask = field(width, height, lambda x, y, line=pixels: y * height > line[min(width - 1, round(x * width))])
        picture = Image.composite(Image.new("L", (width, height), tone), picture, mask)
    return paint(picture.filter(ImageFilter.GaussianBlur(0.6)), INK)


def rule30(width: int, height: int) -> Image.Image:
    """Wolfram's rule 30 from one cell, in two colours."""
    row = [0] * width
    row[width // 2] = 1
    cells: list[int] = []
    for _ in range(height):
        cells += row
        row = [row[i - 1] ^ (row[i] | row[(i + 1) % width]) for i in range(width)]
    picture = Image.frombytes("P", (width, height), bytes(cells))
    picture.putpalette([250, 244, 228, 34, 68, 98])
    return picture.resize((width * 2, height * 2), Image.Resampling.NEAREST)


def life(side: int, count: int) -> list[Image.Image]:
    """Conway's life on a torus, from the R-pentomino on; cells fade when they die."""
    alive = {(side // 2 + x, side // 2 + y) for x, y in ((1, 0), (2, 0), (0, 1), (1, 1), (1, 2))}
    heat = dict.fromkeys(alive, 7)
    frames = []
    for _ in range(count):
        picture = Image.new("P", (side, side))
        for (x, y), value in heat.items():
            picture.putpixel((x, y), value)
        picture.putpalette([v for i in range(8) for v in (12 + 20 * i, 14 + 33 * i, 34 + 18 * i)])
        frames.append(picture.resize((side * 4, side * 4), Image.Resampling.NEAREST))
        near: dict[tuple[int, int], int] = {}
        for x, y in alive:
            for dx, dy in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
                cell = ((x + dx) % side, (y + dy) % side)
                near[cell] = near.get(cell, 0) + 1
        alive = {cell for cell, n in near.items() if n == 3 or (n == 2 and cell in alive)}
        heat = {cell: value - 1 for cell, value in heat.items() if value > 1} | dict.fromkeys(alive, 7)
    return frames


def waves() -> str:
    """Lissajous curves as SVG."""
    paths = []
    for k in range(9):
        points = (
            (320 + 290 * math.sin((3 + k % 2) * t + k / 5), 200 + (170 - 12 * k) * math.sin(2 * t + k / 9))
            for t in (i * math.tau / 240 for i in range(241))
        )
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        paths.append(f'<polyline points="{line}" stroke="hsl({190 + 16 * k} 80% {70 - 3 * k}%)"/>')
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- Lissajous curves -->\n'
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" fill="none" stroke-width="2">\n'
        '<rect width="640" height="400" fill="#10142a"/>\n' + "\n".join(paths) + "\n</svg>\n"
    )


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-fflags", "+bitexact", *arguments], check=True)


def main() -> None:
    """Write every file anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    paint(field(960, 600, julia), NIGHT).save(FOLDER / "julia.jpg", quality=76, optimize=True, progressive=True)
    paint(field(720, 480, mandelbrot), DUSK).save(FOLDER / "seahorses.jpg", quality=68, optimize=True)
    rule30(320, 200).save(FOLDER / "rule30.png", optimize=True, bits=1)
    mountains(640, 400).quantize(64).save(FOLDER / "mountains.png", optimize=True)
    paint(field(800, 500, aurora), [(4, 8, 24), (10, 60, 70), (40, 200, 130), (210, 255, 200)]).save(
        FOLDER / "aurora.webp", quality=80
    )
    paint(field(720, 480, dunes), SAND).save(FOLDER / "dunes.avif", quality=70)
    paint(
        field(640, 400, lambda x, y: 0.5 + 0.5 * math.sin(12 * math.hypot(x - 0.3, y - 0.4)) * math.cos(9 * x * y)),
        DUSK,
    ).save(FOLDER / "ripples.jpg", quality=82, optimize=True)
    frames = life(64, 120)
    frames[0].save(FOLDER / "life.gif", save_all=True, append_images=frames[1:], duration=70, loop=0)
    (FOLDER / "waves.svg").write_text(waves(), "utf-8")
    ffmpeg(
        "-f", "lavfi", "-i",
        "mandelbrot=size=480x270:rate=25:start_x=-0.743643:start_y=0.131826:end_scale=0.004:end_pts=110:outer=normalized_iteration_count",
        "-f", "lavfi", "-i", "sine=frequency=110:sample_rate=44100,tremolo=f=3:d=0.6,volume=0.3",
        "-t", "4", "-c:v", "libx264", "-preset", "veryslow", "-crf", "36", "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-b:a", "48k", "-movflags", "+faststart", str(FOLDER / "zoom.mp4"),
    )  # fmt: skip
    notes = "+".join(
        f"0.22*sin(2*PI*{pitch}*t)*exp(-1.6*mod(t+4-{start},4))*gte(t,{start})"
        for start, pitch in ((0, 220), (0.4, 277.18), (0.8, 329.63), (1.2, 440), (1.6, 554.37))
    )
    ffmpeg(
        "-f", "lavfi", "-i", f"aevalsrc='{notes}':s=44100:d=4", "-af", "aecho=0.8:0.6:60|110:0.3|0.2",
        "-metadata", "title=Arpeggio", "-b:a", "96k", str(FOLDER / "arpeggio.mp3"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
