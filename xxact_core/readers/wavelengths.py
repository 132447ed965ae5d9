"""What files say about their radiation: the wavelength if it is written, never one that is likely."""

from __future__ import annotations

import re
import struct

from xxact_core.errors import PatternError, WavelengthError
from xxact_core.patterns.conversions import LONGEST, SHORTEST, WAVELENGTHS, parse_wavelength

_NUMBER = r"([0-9]+[.,][0-9]+|\.[0-9]+)"
_LABELLED = re.compile(
    r"(?:wave[\s_]*length|\blambda\b|λ|\bWL1?\b)[^0-9\n]{0,40}?" + _NUMBER + r"\s*([a-zÅå]*)", re.IGNORECASE
)
_ALPHA_1 = re.compile(r"(?:alpha[\s_]*1|α\s*1|ka1|_WL1)[^0-9.\n]{0,40}?" + _NUMBER, re.IGNORECASE)
_ALPHA_2 = re.compile(r"(?:alpha[\s_]*2|α\s*2|ka2|_WL2)[^0-9.\n]{0,40}?" + _NUMBER, re.IGNORECASE)
_NAMED = re.compile(
    r"\b(Cu|Mo|Co|Fe|Cr|Ag)[\s_-]*K[\s_\-\\]*(?:alpha|α|a)[\s_]*([12])?(?![a-z0-9])([\s_,+/~]*2\b)?", re.IGNORECASE
)
_ANODE = re.compile(
    r"\b(?:anode|target|tube)(?:[ _-]*(?:material|element|name))?[^A-Za-z\n]{0,10}(Cu|Mo|Co|Fe|Cr|Ag)\b", re.IGNORECASE
)
_NEUTRON = re.compile(r"\bneutrons?\b", re.IGNORECASE)
_RAS_ITEM = re.compile(r'^\*(HW_XG_WAVE_LENGTH_ALPHA[12]|MEAS_COND_XG_WAVE_TYPE) "([^"\n]*)"', re.MULTILINE)
_PLAIN = re.compile(r"[0-9]*[.,]?[0-9]+")
_HEADER_BYTES = 4096
_TRIPLE = struct.Struct("<3d")


def weighted_mean(alpha_1: float, alpha_2: float, *, ratio: float = 0.5) -> float:
    """Wavelength [Å] of unresolved Kα: (λ₁ + r λ₂) / (1 + r), r the intensity of Kα2 over that of Kα1.

    Source: International Tables for Crystallography C, section 4.2.2; r is close to 1/2 for all anodes.
    """
    return (alpha_1 + ratio * alpha_2) / (1 + ratio)


def doublet_wavelength(alpha_1: float | None, alpha_2: float | None, *, ratio: float | None = None) -> float | None:
    """Wavelength [Å] of a doublet as a header gives it: the mean, or Kα1 where there is no Kα2; None without a Kα1.

    ratio: of Kα2 to Kα1; 0 says that a monochromator took Kα2 away, and None that the header says nothing.
    """
    first, second = _in_range(alpha_1), _in_range(alpha_2)
    if first is None or second is None or ratio == 0:
        return first
    return weighted_mean(first, second, ratio=ratio if ratio is not None and 0 < ratio <= 1 else 0.5)


def wavelength_in_text(header: str) -> float | None:
    """Wavelength [Å] that the header of a text file states, as a number (Å or nm) or as a named radiation."""
    first, second = _ALPHA_1.search(header), _ALPHA_2.search(header)
    if first and second:
        return _in_range(weighted_mean(_number(first[1]), _number(second[1])))
    labelled = _LABELLED.search(header)
    if labelled:
        value = _number(labelled[1])
        return _in_range(value * 10 if labelled[2].lower() == "nm" else value)
    named = _NAMED.search(header)
    if named:
        both = named[2] is None or named[3] is not None
        return WAVELENGTHS[f"{named[1].capitalize()}Ka{'' if both else named[2]}"]
    return None


def anode_in_text(header: str) -> str | None:
    """Element of the anode that a header names; it suggests a radiation but does not state it."""
    match = _ANODE.search(header)
    return match[1].capitalize() if match else None


def refuse_neutrons(text: str, *, name: str) -> None:
    """Refuse a file whose header, or whose name of the radiation, is about neutrons.

    Raises:
        PatternError: it is (E_RADIATION).
    """
    if _NEUTRON.search(text):
        msg = f"{name}: the file says that neutrons were scattered; expected x-rays"
        raise PatternError(msg, code="E_RADIATION")


def wavelength_in_xrdml(text: str) -> float | None:
    """Wavelength [Å] of an XRDML file: Kα1 behind a germanium monochromator, else the mean of the written doublet."""
    used = re.search(r"<usedWavelength\b([^>]*)>(.*?)</usedWavelength>", text, re.DOTALL)
    if used is None:
        return None
    alpha_1, alpha_2 = _element(used[2], "kAlpha1"), _element(used[2], "kAlpha2")
    ratio = _element(used[2], "ratioKAlpha2KAlpha1")
    if alpha_1 is None:
        return None
    if "beta" in used[1].lower():
        return _in_range(_element(used[2], "kBeta"))
    if alpha_2 is None or behind_germanium(text) or ratio == 0:
        return _in_range(alpha_1)
    return _in_range(weighted_mean(alpha_1, alpha_2, ratio=0.5 if ratio is None else ratio))


def behind_germanium(text: str) -> bool:
    """Whether an XRDML file names a germanium monochromator, which lets Kα1 through alone."""
    return re.search(r'<monochromator\b[^>]*name="[^"]*Ge\s*\(?[0-9]', text) is not None


def wavelength_in_rasx(text: str) -> float | None:
    """Wavelength [Å] of the measurement conditions in a RASX file."""
    alpha_1, alpha_2 = _element(text, "WavelengthKalpha1"), _element(text, "WavelengthKalpha2")
    single = re.search(r"<WaveType>\s*Ka1\s*</WaveType>", text) is not None
    if alpha_1 is None:
        return None
    return _in_range(alpha_1 if single or not alpha_2 else weighted_mean(alpha_1, alpha_2))


def wavelength_in_brml(text: str) -> float | None:
    """Wavelength [Å] of a raw-data member of a BRML file; None where its scans do not agree."""
    averages = set(re.findall(r'<WaveLengthAverage\b[^>]*Value="([0-9.]+)"', text))
    return _in_range(float(averages.pop())) if len(averages) == 1 else None


def wavelength_in_ras(header: str) -> float | None:
    """Wavelength [Å] of a RAS header."""
    values = dict(_RAS_ITEM.findall(header))
    numbers = {key: _in_range(_number(text)) for key, text in values.items() if _PLAIN.fullmatch(text)}
    alpha_1, alpha_2 = numbers.get("HW_XG_WAVE_LENGTH_ALPHA1"), numbers.get("HW_XG_WAVE_LENGTH_ALPHA2")
    if alpha_1 is None or alpha_2 is None or values.get("MEAS_COND_XG_WAVE_TYPE", "").strip().lower() == "ka1":
        return alpha_1
    return weighted_mean(alpha_1, alpha_2)


def wavelength_in_bruker_raw(data: bytes) -> float | None:
    """Wavelength [Å] in the header of a Bruker RAW file of version 3 or 4.

    The header holds the doubles (mean, Kα1, Kα2) one after another, at another place in each version; they are found
    by what they must be: a Kα1 of a known anode, and the 2:1 mean of the two.
    """
    firsts = [value for name, value in WAVELENGTHS.items() if name.endswith("Ka1")]
    for offset in range(min(len(data), _HEADER_BYTES) - _TRIPLE.size):
        mean, alpha_1, alpha_2 = _TRIPLE.unpack_from(data, offset)
        if alpha_1 < mean < alpha_2 and any(abs(alpha_1 - first) < 1e-3 for first in firsts):  # noqa: PLR2004 - Å
            return mean if abs(mean - weighted_mean(alpha_1, alpha_2)) < 2e-4 else None  # noqa: PLR2004 - Å
    return None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _element(text: str, tag: str) -> float | None:
    match = re.search(rf"<{tag}\b[^>]*>\s*([0-9.]+)\s*</{tag}>", text)
    try:
        return float(match[1]) if match else None
    except ValueError:
        return None


def _in_range(value: float | None) -> float | None:
    if value is None or not SHORTEST <= value <= LONGEST:
        return None
    try:
        return parse_wavelength(value)
    except WavelengthError:
        return None
