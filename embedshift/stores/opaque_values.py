"""Values of single-valued types that travel as bytes of the CQL protocol: as people write them, and as those bytes.

The forms of the bytes are those of the native protocol's specification, version 5, section 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

#: A day as the protocol counts it: 2³¹ is the first of January 1970, which Python's calendar gives this number.
_EPOCH, _EPOCH_ORDINAL = 1 << 31, date(1970, 1, 1).toordinal()
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?")
#: A number of more bytes has more digits than Python writes.
_BYTES_MAX = 1700
_DAY_NS, _SECOND_NS = 86_400 * 10**9, 10**9


def encode(cql_type: str, value: Any) -> bytes | None:
    """The bytes of a value; None if a value of that type has no other form than its bytes.

    Args:
        cql_type: such as ``date``.
        value: a text, or a number where that is one.

    Raises:
        ValueError, TypeError, OverflowError, ArithmeticError: it is no such value.
    """
    form = _FORMS.get(cql_type)
    return form[0](value) if form else None


def decode(cql_type: str, value: bytes) -> Any:
    """The inverse of ``encode``: a text or an integer; None if these bytes have no other form.

    CQL knows an empty value of most types, which is neither null nor a value.
    """
    form = _FORMS.get(cql_type)
    return form[1](value) if form and 0 < len(value) <= _BYTES_MAX else None


def alike(cql_type: str, one: Any, other: Any) -> bool:
    """Whether a server finds two values equal: of a decimal 1.5 and 1.50, whose bytes differ.

    Args:
        cql_type: of both.
        one, other: as they travel in Arrow.
    """
    if cql_type != "decimal" or not one or not other:
        return bool(one == other)
    (first, scale), (second, other_scale) = ((_whole(each[4:]), _whole(each[:4])) for each in (one, other))
    # Compared without the power of ten of a scale that somebody has chosen.
    return first == second == 0 or (_plain(first, scale) == _plain(second, other_scale))


def _plain(number: int, scale: int) -> tuple[int, int]:
    while number and number % 10 == 0:
        number, scale = number // 10, scale - 1
    return number, scale


def _date_bytes(value: Any) -> bytes:
    if isinstance(value, bool):
        raise TypeError(value)
    if not isinstance(value, int):
        value = (value if isinstance(value, date) else date.fromisoformat(value)).toordinal() - _EPOCH_ORDINAL
    return (int(value) + _EPOCH).to_bytes(4, "big")


def _date_text(value: bytes) -> str | int:
    days = int.from_bytes(value, "big") - _EPOCH
    try:
        return date.fromordinal(days + _EPOCH_ORDINAL).isoformat()
    except (ValueError, OverflowError):  # Python's calendar ends with the year 9999
        return days


def _time_bytes(value: Any) -> bytes:
    match = _TIME.fullmatch(str(value))
    if match is None:
        raise ValueError(value)
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    nanoseconds = (hours * 3600 + minutes * 60 + seconds) * _SECOND_NS + int((match[4] or "").ljust(9, "0"))
    if minutes > 59 or seconds > 59 or nanoseconds >= _DAY_NS:
        raise ValueError(value)
    return nanoseconds.to_bytes(8, "big")


def _time_text(value: bytes) -> str:
    seconds, rest = divmod(int.from_bytes(value, "big"), _SECOND_NS)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest:09}".rstrip("0") if rest else text


def _whole_bytes(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    number = int(value)
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True)


def _whole(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _decimal_bytes(value: Any) -> bytes:
    if isinstance(value, bool):
        raise TypeError(value)
    sign, digits, exponent = Decimal(str(value)).as_tuple()
    if not isinstance(exponent, int):  # infinity, or not a number
        raise ValueError(value)
    number = int("".join(map(str, digits)))
    return (-exponent).to_bytes(4, "big", signed=True) + _whole_bytes(-number if sign else number)


def _decimal_text(value: bytes) -> str:
    number, scale = _whole(value[4:]), int.from_bytes(value[:4], "big", signed=True)
    return str(Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale)))


_FORMS: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "date": (_date_bytes, _date_text),
    "time": (_time_bytes, _time_text),
    "inet": (lambda value: ip_address(str(value)).packed, lambda value: str(ip_address(value))),
    "varint": (_whole_bytes, _whole),
    "decimal": (_decimal_bytes, _decimal_text),
}
