"""DynamoDB numbers: at most 38 significant digits, magnitude 1E-130 to 9.99...E+125, or zero.

A number is kept as its canonical text, the one AWS returns: plain decimal notation, no exponent, no leading or trailing zeros, "0" for every zero.
Equal numbers have equal texts. Arithmetic is exact or refused, never rounded.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from scrubjay.storage.items.errors import ItemError

DIGITS_MAX = 38
EXPONENT_MAX = 125
"""Of the first digit: 9.9...E+125 is the largest magnitude."""
EXPONENT_MIN = -130

NOT_NUMERIC = "The parameter cannot be converted to a numeric value"
TOO_PRECISE = "Attempting to store more than 38 significant digits in a Number"
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"

_PLAIN = re.compile(r"(?:0|-?(?:[1-9][0-9]*(?:\.[0-9]*[1-9])?|0\.[0-9]*[1-9]))")
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_EXPONENT_DIGITS_MAX = 19
"""Of a 64-bit integer; longer exponents are refused before any arithmetic."""
_EXPONENT_LIMIT = 1 << 63


def canonical(text: str) -> str:
    """The canonical text of a number as a client wrote it. Raises ItemError (not a number, too precise, over- or underflow)."""
    if len(text) <= DIGITS_MAX and _PLAIN.fullmatch(text):
        return text
    return _canonical_slow(text)


def _canonical_slow(text: str) -> str:
    if not text:
        raise ItemError(NOT_NUMERIC)
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise ItemError(f"{NOT_NUMERIC}: {text}")
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", match[4]
    digits = (whole + fraction).lstrip("0")
    stripped = digits.rstrip("0")
    power = _power(exponent, text) if exponent else 0
    if not stripped:
        if exponent:
            # a zero is judged by the exponent it is written with: 0e126 is too large, 0.0e126 is not
            check_range(1, power - len(fraction) + 1)
        return "0"
    # value = 0.stripped * 10**point
    point = len(digits) - len(fraction) + power
    check_range(len(stripped), point)
    return ("-" if sign == "-" else "") + _plain(stripped, point)


def _power(exponent: str, text: str) -> int:
    """The exponent of `text`. Raises ItemError unless it is a 64-bit integer."""
    if len(exponent.lstrip("+-0")) <= _EXPONENT_DIGITS_MAX:
        power = int(exponent)
        if -_EXPONENT_LIMIT <= power < _EXPONENT_LIMIT:
            return power
    raise ItemError(f"{NOT_NUMERIC}: {text}")


def check_range(digits: int, point: int) -> None:
    """Raise ItemError unless a number of `digits` significant digits, 0.d1d2... * 10**point, may be stored."""
    if point - 1 > EXPONENT_MAX:
        raise ItemError(OVERFLOW)
    if point - 1 < EXPONENT_MIN:
        raise ItemError(UNDERFLOW)
    if digits > DIGITS_MAX:
        raise ItemError(TOO_PRECISE)


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return digits[:point] + "." + digits[point:]


def parts(text: str) -> tuple[bool, str, int]:
    """(negative, significant digits without zeros at either end, point) of a canonical text: 0.digits * 10**point. Zero is (False, "", 0)."""
    negative = text[0] == "-"
    if negative:
        text = text[1:]
    whole, _, fraction = text.partition(".")
    if whole == "0":
        digits = fraction.lstrip("0")
        return negative, digits, len(digits) - len(fraction)
    return negative, (whole + fraction).rstrip("0"), len(whole)


# --- order ---------------------------------------------------------------------------------------------------------------------------------


def sort_key(text: str) -> Decimal:
    """A key that sorts canonical texts by numeric value; exact."""
    return Decimal(text)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as the number `left` is less than, equal to or greater than `right`."""
    if left == right:
        return 0
    return -1 if Decimal(left) < Decimal(right) else 1


_NEGATIVE, _ZERO, _POSITIVE = b"\x00", b"\x01", b"\x02"
_PAIRS = {f"{pair:02d}": bytes([pair + 1]) for pair in range(100)}
_PAIRS_NEGATIVE = {f"{pair:02d}": bytes([0xFE - pair]) for pair in range(100)}
_POINT_BIAS = 129
"""point runs from -129 to 126: exactly one byte."""


def order_bytes(text: str) -> bytes:
    """Bytes whose order is the order of the numbers, for a canonical text. At most 22 bytes, see docs/formats/key.md."""
    negative, digits, point = parts(text)
    if not digits:
        return _ZERO
    if len(digits) & 1:
        digits += "0"
    pairs = range(0, len(digits), 2)
    if negative:
        # Complemented, and closed by a byte above every pair: of two that agree so far the longer one is the smaller number.
        body = b"".join([_PAIRS_NEGATIVE[digits[at : at + 2]] for at in pairs])
        return _NEGATIVE + bytes([0xFF - (point + _POINT_BIAS)]) + body + b"\xff"
    body = b"".join([_PAIRS[digits[at : at + 2]] for at in pairs])
    return _POSITIVE + bytes([point + _POINT_BIAS]) + body


# --- arithmetic ----------------------------------------------------------------------------------------------------------------------------

_EXACT = Context(prec=300, Emax=999, Emin=-999, traps=[Inexact, InvalidOperation, Overflow])
"""Wide enough for every sum of two numbers in range: 126 digits before the point and 167 behind it."""


def add(left: str, right: str) -> str:
    """left + right, exact. Raises ItemError when the sum does not fit (also when only its digits do not: AWS says overflow then, too)."""
    if len(left) < 18 and len(right) < 18 and "." not in left and "." not in right:
        return str(int(left) + int(right))
    return _from_result(_EXACT.add(Decimal(left), Decimal(right)))


def subtract(left: str, right: str) -> str:
    """left - right; as `add`."""
    if len(left) < 18 and len(right) < 18 and "." not in left and "." not in right:
        return str(int(left) - int(right))
    return _from_result(_EXACT.subtract(Decimal(left), Decimal(right)))


def _from_result(result: Decimal) -> str:
    sign, digit_tuple, exponent = result.as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple)).lstrip("0")
    stripped = digits.rstrip("0")
    if not stripped:
        return "0"
    point = len(digits) + exponent
    if len(stripped) > DIGITS_MAX:
        raise ItemError(OVERFLOW)
    check_range(len(stripped), point)
    return ("-" if sign else "") + _plain(stripped, point)
