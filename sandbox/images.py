"""Generated images in place of Discord's CDN: a tile whose colours and pattern depend on the hash.

They are real PNG, GIF and WebP files. A hash with the prefix `a_` is animated as GIF, and as WebP with `animated=true`.
https://docs.discord.com/developers/reference#image-formatting
"""

import colorsys
import re
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from sandbox import webp
from sandbox.responses import Response, api_error

# Pixels. Larger requests get this size, so that a page with 200 images stays fast.
MAX_WIDTH = 256
MAX_ANIMATED_WIDTH = 128
FRAME_MILLISECONDS = 500
CELLS = 6
_PATH = re.compile(r"/(icons|banners|avatars)/[0-9]{1,20}/((a_)?[0-9a-f]{32})\.(png|jpg|jpeg|webp|gif)")
_DEFAULT_AVATAR = re.compile(r"/embed/avatars/([0-5])\.png")


def picture(path: str, params: Mapping[str, str]) -> Response:
    """Return the image at `path` (without /cdn). `params` can have its `size`, or 128 pixels, and `animated`."""
    default = _DEFAULT_AVATAR.fullmatch(path)
    if default:
        return _image("image/png", png(f"default avatar {default[1]}", 128))
    match = _PATH.fullmatch(path)
    if match is None:
        return api_error(404, "404: Not Found")
    size = params.get("size", "128")
    if size not in _SIZES:
        return api_error(400, "size must be a power of two from 16 to 4096")
    folder, name, animated, extension = match.groups()
    width, flat = min(int(size), MAX_WIDTH), folder == "banners"
    if extension == "gif":
        if not animated:
            return api_error(415, "this image is not animated")
        return _image("image/gif", gif(name, min(width, MAX_ANIMATED_WIDTH)))
    if extension == "webp":
        moves = bool(animated) and params.get("animated") == "true"
        if moves:
            return _image("image/webp", moving_webp(name, min(width, MAX_ANIMATED_WIDTH), flat=flat))
        return _image("image/webp", still_webp(name, width, flat=flat))
    return _image("image/png", png(name, width, flat=flat))


# Exchanges the first two colours.
_NEGATIVE = bytes((1, 0, 2)) + bytes(range(3, 256))
_SIZES = {str(1 << power) for power in range(4, 13)}


def _image(content_type: str, body: bytes) -> Response:
    headers = (("Content-Type", content_type), ("Cache-Control", "public, max-age=31536000"))
    return Response(200, headers, body)


@lru_cache(maxsize=2048)
def png(name: str, width: int, *, flat: bool = False) -> bytes:
    """Return a palette PNG; `flat` gives it a banner's proportions."""
    height = _height(width, flat)
    colours = b"".join(bytes(colour) for colour in palette(name))
    rows = b"".join(b"\0" + row for row in pixels(name, width, height))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


@lru_cache(maxsize=2048)
def still_webp(name: str, width: int, *, flat: bool) -> bytes:
    """Return the same picture as `png`."""
    return webp.still(palette(name), pixels(name, width, _height(width, flat)))


@lru_cache(maxsize=256)
def moving_webp(name: str, width: int, *, flat: bool) -> bytes:
    """Return a WebP that alternates between the tile and its negative."""
    rows = pixels(name, width, _height(width, flat))
    return webp.animated(palette(name), (rows, [row.translate(_NEGATIVE) for row in rows]), FRAME_MILLISECONDS)


def _height(width: int, flat: bool) -> int:
    return width * 2 // 5 if flat else width


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@lru_cache(maxsize=256)
def gif(name: str, width: int) -> bytes:
    """Return a GIF that alternates between the tile and its negative."""
    colours = b"".join(bytes(colour) for colour in palette(name)).ljust(128 * 3, b"\0")
    plain = b"".join(pixels(name, width, width))
    frames = (plain, plain.translate(_NEGATIVE))
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    head = b"GIF89a" + struct.pack("<HHBBB", width, width, 0xF6, 0, 0) + colours + loop
    return head + b"".join(_frame(frame, width) for frame in frames) + b"\x3b"


def _frame(frame: bytes, width: int) -> bytes:
    """Encode a frame in uncompressed LZW: clear codes keep each code one byte long."""
    codes = b"".join(b"\x80" + frame[start : start + 126] for start in range(0, len(frame), 126)) + b"\x81"
    blocks = b"".join(bytes((len(part),)) + part for part in _slices(codes, 255)) + b"\0"
    pause = b"\x21\xf9\x04\x04" + struct.pack("<H", FRAME_MILLISECONDS // 10) + b"\0\0"
    return pause + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, width, 0) + b"\x07" + blocks


def _slices(data: bytes, length: int) -> list[bytes]:
    return [data[start : start + length] for start in range(0, len(data), length)]


def palette(name: str) -> tuple[tuple[int, int, int], ...]:
    """Return three matching colours: background, pattern and accent."""
    hue = sha256(name.encode()).digest()[0] / 256
    tones = ((hue, 0.42, 0.55), (hue + 0.06, 0.72, 0.62), (hue + 0.45, 0.62, 0.60))
    return tuple(_rgb(*tone) for tone in tones)


def _rgb(hue: float, lightness: float, saturation: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def pixels(name: str, width: int, height: int) -> list[bytes]:
    """Return the tile's rows, one byte per pixel; the cells are symmetric."""
    digest = sha256(f"cells {name}".encode()).digest()
    rows = []
    for y in range(height):
        half = [digest[(y * CELLS // height) * CELLS // 2 + column] % 5 for column in range(CELLS // 2)]
        tones = [1 if value < 2 else 2 if value == 4 else 0 for value in half]
        cells = tones + tones[::-1]
        edges = [width * column // CELLS for column in range(CELLS + 1)]
        spans = zip(cells, edges, edges[1:], strict=False)
        rows.append(b"".join(bytes((tone,)) * (end - start) for tone, start, end in spans))
    return rows
