"""Lossless WebP of images with at most four colours, still or animated.

https://developers.google.com/speed/webp/docs/riff_container and …/webp_lossless_bitstream_specification
"""

import struct
from collections.abc import Sequence

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# A prefix code in which each byte is its own code of 8 bits: of twelve code lengths only "8" is used, for 256 symbols.
_EACH_BYTE = ((0, 1), (8, 4), *((0, 3),) * 11, (1, 3), (1, 1), (3, 3), (254, 8))
# The one symbol 0, which takes no bits.
_ONLY_ZERO = ((1, 1), (0, 1), (0, 1), (0, 1))
_COLOUR_INDEXING = 3


class _Bits:
    """A stream that begins with the lowest bit of its first byte."""

    def __init__(self) -> None:
        self.value = 0
        self.length = 0

    def write(self, *fields: tuple[int, int]) -> None:
        """Append each value in its number of bits."""
        for value, length in fields:
            self.value |= value << self.length
            self.length += length

    def write_codes(self, data: bytes) -> None:
        """Append the code of each byte, which begins with its highest bit."""
        self.write((int.from_bytes(data.translate(_MIRRORED), "little"), 8 * len(data)))

    def to_bytes(self) -> bytes:
        return self.value.to_bytes((self.length + 7) // 8, "little")


def still(palette: Sequence[tuple[int, int, int]], rows: Sequence[bytes]) -> bytes:
    """Return an image of rows with one byte per pixel, its index in `palette`."""
    return _riff(_frame(palette, rows))


def animated(palette: Sequence[tuple[int, int, int]], frames: Sequence[Sequence[bytes]], milliseconds: int) -> bytes:
    """Return an endless animation that shows each frame, as in `still`, for so long."""
    size = _three_bytes(len(frames[0][0]) - 1) + _three_bytes(len(frames[0]) - 1)
    header = _chunk(b"VP8X", struct.pack("<I", 1 << 1) + size)
    loop = _chunk(b"ANIM", struct.pack("<IH", 0, 0))
    place = _three_bytes(0) + _three_bytes(0) + size + _three_bytes(milliseconds) + b"\0"
    return _riff(header + loop + b"".join(_chunk(b"ANMF", place + _frame(palette, rows)) for rows in frames))


def _frame(palette: Sequence[tuple[int, int, int]], rows: Sequence[bytes]) -> bytes:
    bits = _Bits()
    bits.write((0x2F, 8), (len(rows[0]) - 1, 14), (len(rows) - 1, 14), (0, 1), (0, 3))
    bits.write((1, 1), (_COLOUR_INDEXING, 2), (len(palette) - 1, 8))
    # The palette: an image whose channels are the differences to the colour before, without a colour cache.
    bits.write((0, 1), *_EACH_BYTE * 4, *_ONLY_ZERO)
    before = (0, 0, 0, 0)
    for red, green, blue in palette:
        colour = (green, red, blue, 255)
        bits.write_codes(bytes((new - old) % 256 for new, old in zip(colour, before, strict=True)))
        before = colour
    # The image: four pixels in each byte of green. No other transform, no colour cache, one group of codes.
    bits.write((0, 1), (0, 1), (0, 1), *_EACH_BYTE, *_ONLY_ZERO * 4)
    bits.write_codes(b"".join(map(_packed, rows)))
    return _chunk(b"VP8L", bits.to_bytes())


def _packed(row: bytes) -> bytes:
    """Return four pixels of two bits in each byte, the first in the lowest bits."""
    row += bytes(-len(row) % 4)
    return bytes(
        a | b << 2 | c << 4 | d << 6 for a, b, c, d in zip(row[::4], row[1::4], row[2::4], row[3::4], strict=True)
    )


def _three_bytes(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _riff(chunks: bytes) -> bytes:
    return _chunk(b"RIFF", b"WEBP" + chunks)
