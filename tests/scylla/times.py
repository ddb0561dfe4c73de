"""Write times as timeuuids, as the log has them."""

from __future__ import annotations

import secrets
import uuid

_UUID_EPOCH = 0x01B21DD213814000


def timeuuid(time_us: int) -> uuid.UUID:
    """A timeuuid of that time, unlike any other."""
    return _of(time_us, 0x8000_0000_0000_0000 | secrets.randbits(62))


def least(time_us: int) -> uuid.UUID:
    """The least timeuuid of that time, in Cassandra's order of the other half: by signed bytes."""
    return _of(time_us, 0x8080_8080_8080_8080)


def time_us(moment: uuid.UUID) -> int:
    """The write time of a timeuuid, in microseconds."""
    return (moment.time - _UUID_EPOCH) // 10


def _of(time_us: int, rest: int) -> uuid.UUID:
    ticks = time_us * 10 + _UUID_EPOCH
    first = (ticks & 0xFFFFFFFF) << 32 | (ticks >> 32 & 0xFFFF) << 16 | (ticks >> 48 & 0x0FFF) | 0x1000
    return uuid.UUID(int=first << 64 | rest)
