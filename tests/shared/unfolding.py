"""Compressed data that unfolds about a thousand times, made without compressing all of it."""

from __future__ import annotations

import zlib
from functools import lru_cache

PIECE = 1_000_000


@lru_cache
def packed(sign: bytes, form: str, size: int = 400_000_000) -> bytes:
    """So many of a sign. A piece that begins anew can stand again and again; nobody reads as far as the checksum."""
    packer = zlib.compressobj(9, wbits=31 if form == "gzip" else 15)
    first, again = (packer.compress(sign * PIECE) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (size // PIECE - 1) + packer.flush()
