"""The looks of a report: style sheet, document frame, pictures as data: URIs."""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vlp.evals.writing import escape

THUMBNAIL = 192  # pixels; twice the size at which pictures are shown, for dense screens
MAX_SOUND = 2**20  # bytes
SOUNDS = {b"OggS": "ogg", b"fLaC": "flac", b"RIFF": "wav"}

STYLE = """
:root { color-scheme: light dark;
  --page: #fbfaf7; --card: #ffffff; --ink: #1d1c1a; --soft: #6b6862; --rule: #e5e2da;
  --accent: #2456a6; --accent2: #5b86cc; --accent3: #8fb0e4; --right: #1c7a4a; --miss: #a8500c;
  --tile: #ffffff; --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua",
    "URW Palladio L", Georgia, "DejaVu Serif", serif;
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
    "Noto Sans", "DejaVu Sans", Arial, sans-serif; }
@media (prefers-color-scheme: dark) { :root {
  --page: #141412; --card: #1c1c19; --ink: #ecebe5; --soft: #a19d94; --rule: #32312d;
  --accent: #9cc2ff; --accent2: #6390d6; --accent3: #4a70b0; --right: #63cf97; --miss: #f2a868; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 var(--sans); }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 56px; }
h1 { font: 600 38px/1.15 var(--serif); letter-spacing: -.01em; margin: 0; }
h2 { font: 600 24px/1.25 var(--serif); margin: 64px 0 4px; }
h3 { font: 600 15px/1.4 var(--sans); margin: 0; }
p { margin: 0; } .lead, .note { color: var(--soft); max-width: 68ch; }
.lead { margin-top: 8px; font-size: 17px; }
.num, td, .rank { font-variant-numeric: tabular-nums; }
.hero-name { margin-top: 40px; font: italic 19px/1.3 var(--serif); color: var(--soft); }
.hero { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 16px 40px;
  margin: 12px 0 0; }
.hero .big { font: 600 52px/1.1 var(--serif); letter-spacing: -.02em; white-space: nowrap; }
.hero .what { font-weight: 600; } .hero .chance { color: var(--soft); font-size: 14px; }
.bar { position: relative; height: 6px; border-radius: 3px; background: var(--rule); margin: 8px 0;
  overflow: hidden; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--accent); border-radius: 3px; }
.wide { overflow-x: auto; margin-top: 28px; } .wide table { margin-top: 10px; }
table { border-collapse: collapse; width: 100%; max-width: 860px; font-size: 15px; }
th, td { text-align: right; padding: 7px 0 7px 22px; white-space: nowrap; vertical-align: top; }
th { font-weight: 500; color: var(--soft); font-size: 13px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody tr { border-top: 1px solid var(--rule); }
tbody th { color: var(--ink); font-size: 15px; font-weight: 400; }
tr.group th { padding-top: 20px; font: italic 17px var(--serif); }
.failed { color: var(--miss); max-width: 68ch; margin-top: 8px; overflow-wrap: anywhere; }
.narrow { display: none; } td .of { display: block; color: var(--soft); font-size: 12.5px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 16px 18px; min-width: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr));
  gap: 18px; margin-top: 20px; }
.query { font: italic 19px/1.3 var(--serif); overflow-wrap: anywhere; }
audio { display: block; width: 100%; max-width: 320px; height: 36px; margin: 10px 0 8px; }
.rank { color: var(--soft); font-size: 13.5px; margin: 2px 0 12px; }
.rank b { font-weight: 600; } .hit { color: var(--right); } .miss { color: var(--miss); }
.strip { display: grid; grid-template-columns: repeat(7, 1fr); gap: 8px; }
.strip figure, .ask figure { margin: 0; position: relative; min-width: 0; }
.tile { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; padding: 4px;
  background: var(--tile); border-radius: 8px; border: 1px solid var(--rule); }
.right .tile { border-color: transparent; outline: 2.5px solid var(--right); outline-offset: 0; }
.right::after { content: "\\2713"; position: absolute; right: -5px; top: -6px; width: 19px;
  height: 19px; border-radius: 50%; background: var(--right); color: var(--card);
  font: 700 12px/19px var(--sans); text-align: center; }
.wanted .tile { border: 2px dashed var(--miss); }
.wanted figcaption { color: var(--miss); font-size: 12px; line-height: 1.2; margin-top: 4px;
  text-align: center; white-space: nowrap; }
.asks { columns: 2 380px; column-gap: 18px; margin-top: 20px; }
.ask { display: grid; grid-template-columns: 88px 1fr; gap: 18px; align-items: start;
  break-inside: avoid; margin-bottom: 18px; }
ol { list-style: none; margin: 0; padding: 0; font-size: 14.5px; line-height: 1.35; }
ol li { display: flex; justify-content: space-between; gap: 12px; padding: 3px 0;
  color: var(--soft); overflow-wrap: anywhere; }
ol li span:first-child { min-width: 0; }
ol li .num { font-size: 12.5px; flex: none; padding-top: 1px; }
ol li.yes { color: var(--right); font-weight: 600; }
ol li.said { color: var(--ink); font: italic 17px/1.3 var(--serif); }
ol li.no { color: var(--miss); border-top: 1px dashed var(--rule); margin-top: 4px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr));
  gap: 18px; margin-top: 20px; }
.chart { display: block; width: 100%; height: auto; margin-top: 8px; font: 12px var(--sans);
  font-variant-numeric: tabular-nums; }
.chart .grid { stroke: var(--rule); fill: none; } .chart .tick { fill: var(--soft); }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart .name { font-weight: 600; fill: var(--ink); }
.chart .c1.line { stroke: var(--accent); }
.chart .c1.dot { fill: var(--accent); }
.chart .c2.line { stroke: var(--accent2); }
.chart .c2.dot { fill: var(--accent2); }
.chart .c3.line { stroke: var(--accent3); }
.chart .c3.dot { fill: var(--accent3); }
.chart .faint.line { stroke: var(--accent3); stroke-width: 1; opacity: .7; }
.chart .faint.dot { fill: none; }
.facts { columns: 2 380px; column-gap: 56px; margin-top: 20px; font-size: 15px; }
.facts section { break-inside: avoid; margin-bottom: 22px; }
dl { margin: 6px 0 0; } dl div { display: flex; justify-content: space-between; gap: 24px;
  border-top: 1px solid var(--rule); padding: 5px 0; }
dt { color: var(--soft); flex: none; max-width: 50%; overflow-wrap: anywhere; }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; min-width: 0;
  font-variant-numeric: tabular-nums; }
footer { margin-top: 56px; padding-bottom: 56px; color: var(--soft); font-size: 13.5px; }
footer p { border-top: 1px solid var(--rule); padding-top: 14px; margin-top: 14px; }
@media (max-width: 560px) { main, header, footer { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 32px; } h1 { font-size: 29px; } h2 { margin-top: 48px; }
  .hero { grid-template-columns: 1fr; gap: 22px; } .hero .big { font-size: 44px; }
  .strip { grid-template-columns: repeat(4, 1fr); } table { font-size: 14px; }
  th, td { padding-left: 10px; } th { white-space: normal; }
  tbody th { font-size: 14px; }
  .of .by { display: none; } .narrow { display: block; } }
@media print { body { background: none; } .card, .chart { break-inside: avoid; } }
"""


def document(*, title: str, body: str, style: str = "") -> str:
    """A complete HTML page that asks the network for nothing, not even an icon.

    Args:
      title: Of the window.
      body: HTML.
      style: Rules beside the house's own.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; media-src data:; "
        "style-src 'unsafe-inline'\">\n"
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def picture(image: UInt8[np.ndarray, "h w c"], *, alt: str, size: int = THUMBNAIL) -> str:
    """An `img` element that carries its picture, at most `size` pixels wide or high."""
    uri = data_uri(image, size=size)
    return f'<img class="tile" src="{uri}" alt="{escape(alt)}" title="{escape(alt)}">'


def player(sound: bytes, *, label: str) -> str:
    """An `audio` element that carries its sound; of a large one, a sentence instead."""
    if len(sound) > MAX_SOUND:
        return (
            f'<p class="rank">a sound of {len(sound) / 2**20:,.1f} MiB, left out of this page</p>'
        )
    kind = next((kind for magic, kind in SOUNDS.items() if sound.startswith(magic)), "mpeg")
    uri = f"data:audio/{kind};base64,{base64.b64encode(sound).decode('ascii')}"
    return f'<audio controls preload="metadata" src="{uri}" aria-label="{escape(label)}"></audio>'


def data_uri(image: UInt8[np.ndarray, "h w c"], *, size: int = THUMBNAIL) -> str:
    """A picture, at most `size` pixels wide or high, as a data: URI.

    Small or transparent pictures stay exact (PNG), larger ones become JPEG: drawings are small,
    photographs large.
    """
    opaque = image.shape[2] == 4 and bool((image[..., 3] == 255).all())
    picture = Image.fromarray(image[..., :3] if opaque else image)
    exact = picture.mode == "RGBA" or max(picture.size) <= THUMBNAIL // 2
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    kind = "png" if exact else "jpeg"
    picture.save(buffer, kind, optimize=True, **({} if exact else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
