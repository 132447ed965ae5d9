"""Powder CIF → measured points: the loops of the powder dictionary."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from xxact_core.errors import PatternError, shorten
from xxact_core.patterns.conversions import d_to_two_theta
from xxact_core.readers.measured_points import (
    AxisKind,
    MeasuredPoints,
    note_limits,
    plausible_wavelength,
    refuse_neutrons,
    scan_metadata,
    select_scans,
    wavelength_in_text,
)

_TOKEN = re.compile(
    r"""(?P<text>^;(?:[^\n]|\n(?!;))*+\n;(?=\s|$))|(?P<comment>\#[^\n]*)|(?P<quoted>'(?:[^'\n]|'(?=\S))*'|"(?:[^"\n]|"(?=\S))*")"""
    r"""|(?P<word>[^\s]+)""",
    re.MULTILINE,
)
_ANGLES = (
    "_pd_proc_2theta_corrected",
    "_pd_meas_2theta_corrected",
    "_pd_meas_2theta_scan",
    "_pd_meas_angle_2theta",
    "_pd_proc_angle_2theta",
)
_INTENSITIES = (
    "_pd_meas_counts_total",
    "_pd_meas_intensity_total",
    "_pd_proc_intensity_total",
    "_pd_meas_intensity_net",
    "_pd_proc_intensity_net",
)
"""Measured columns in order of preference; calculated ones are never read.

Source: IUCr powder dictionary (cif_pow) 1.0.
"""

_NUMBER = re.compile(r"([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)(?:\([0-9]++\))?")


@dataclass
class _Block:
    name: str
    items: dict[str, str] = field(default_factory=dict)
    loops: list[dict[str, list[str]]] = field(default_factory=list)


def read_powder_cif(text: str, *, name: str, scan: int | None = 0) -> list[MeasuredPoints]:
    r"""Points of one data block among those with a measured pattern, or of all for `scan=None`.

    Angles are, in order of preference, the corrected ones, the scanned ones, or an even range from minimum to maximum;
    an axis of d or q is read where no angles are given. Angles and d that contradict each other are refused. The
    wavelength is that of the block, or the only one in the file; a doublet gives its weighted mean, a radiation type
    such as `Cu K\a` the named wavelength.

    Raises:
        PatternError: no powder pattern in the file (E_FORMAT), neutrons (E_RADIATION), a time-of-flight axis or angles
            that contradict d (E_AXIS), a loop that is cut off (E_TRUNCATED), or a value that is no number (E_VALUES).
    """
    blocks = _read_blocks(text, name=name)
    powder = [block for block in blocks if any(_has_pattern(loop) for loop in block.loops)]
    if not powder:
        msg = f"{name}: a CIF without a measured powder pattern (no loop with {_INTENSITIES[1]} or an equivalent)"
        raise PatternError(msg, code="E_FORMAT")
    return [
        _block_to_points(powder[index], blocks, name=name, scan=scan, scans=len(powder), text=text)
        for index in select_scans(scan, count=len(powder), name=name)
    ]


def _block_to_points(
    block: _Block, blocks: list[_Block], *, name: str, scan: int | None, scans: int, text: str
) -> MeasuredPoints:
    loop = next(loop for loop in block.loops if _has_pattern(loop))
    _refuse_neutrons(blocks, block, name=name)
    intensity_tag = next(tag for tag in _INTENSITIES if tag in loop)
    positions, kind = _positions(block, loop, points=len(loop[intensity_tag]), name=name)
    intensity = _numbers(loop[intensity_tag], name=name, tag=intensity_tag)
    notes = _check_count(block, points=intensity.size, name=name)
    intensity, divided = _over_counting_times(loop, intensity, intensity_tag, name=name)
    notes += divided
    if kind == "two_theta":
        notes += _note_range(block, loop, positions[np.isfinite(positions)])
    given = np.isfinite(intensity) & np.isfinite(positions)
    if not given.all():
        notes.append(f"{int((~given).sum())} points without a value (. or ?) were left out")
    if block is blocks[-1] and not text.endswith("\n"):
        notes.append(f"may be truncated at {intensity.size} points: the last line has no line end")
    if scan == 0 and scans > 1:
        notes.append(f"holds {scans} patterns; the first was read ({shorten(block.name, limit=60)})")
    anode = re.match(r"([A-Z][a-z]?)\b", block.items.get("_diffrn_radiation_type", ""))
    temperature = f"{block.items.get('_diffrn_ambient_temperature', '')} K"
    metadata = scan_metadata(anode=anode[1] if anode else None, temperature=temperature, scans=scans)
    return MeasuredPoints(
        positions=positions[given],
        intensity=intensity[given],
        format="powder CIF",
        kind=kind,
        wavelength=_wavelength(blocks, block),
        places=np.flatnonzero(given) + 1,
        warnings=tuple(notes),
        metadata={**metadata, "block": shorten(block.name)},
    )


def _read_blocks(text: str, *, name: str) -> list[_Block]:
    """Data blocks with their items and loops; values are texts without their quotes and semicolons."""
    blocks = [_Block("")]
    tags: list[str] | None = None
    values: list[str] = []
    item = ""

    def close() -> None:
        nonlocal tags, values
        if tags and values:
            if len(values) % len(tags):
                msg = f"{name}: the loop of {shorten(tags[0], limit=60)} ends within a row: the file is cut off"
                raise PatternError(msg, code="E_TRUNCATED")
            blocks[-1].loops.append({tag: values[index :: len(tags)] for index, tag in enumerate(tags)})
        tags, values = None, []

    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match[0]
        if kind == "comment":
            continue
        lower = _normalise_name(word) if kind == "word" else ""
        if lower.startswith(("data_", "save_", "global_")):
            close()
            blocks.append(_Block(word[5:]))
            item = ""
        elif lower == "loop_":
            close()
            tags = []
        elif lower.startswith("_"):
            if tags is not None and not values:
                tags.append(lower)
            else:
                close()
                item = lower
        elif tags is not None:
            values.append(word if kind == "word" else word[1:-1].strip("\n;"))
        elif item:
            blocks[-1].items[item] = word if kind == "word" else word[1:-1].strip("\n;")
            item = ""
    close()
    return blocks


def _normalise_name(word: str) -> str:
    """The word in lower case; names of newer dictionaries (`_pd_meas.2theta_scan`) written as in older ones."""
    return word.lower().replace(".", "_") if word.startswith("_") else word.lower()


def _has_pattern(loop: dict[str, list[str]]) -> bool:
    return any(tag in loop for tag in _INTENSITIES)


def _refuse_neutrons(blocks: list[_Block], block: _Block, *, name: str) -> None:
    probes = (
        [block.items.get("_diffrn_radiation_probe")]
        if "_diffrn_radiation_probe" in block.items
        else [other.items.get("_diffrn_radiation_probe") for other in blocks]
    )
    refuse_neutrons(" ".join(filter(None, probes)), name=name)


def _positions(block: _Block, loop: dict[str, list[str]], *, points: int, name: str) -> tuple[np.ndarray, AxisKind]:
    two_theta = _two_theta(block, loop, points=points, name=name)
    if two_theta is not None:
        _check_against_spacings(two_theta, block, loop, name=name)
        return two_theta, "two_theta"
    if any("time_of_flight" in tag for tag in loop):
        msg = f"{name}: the axis is a time of flight (neutrons); expected 2θ of x-rays"
        raise PatternError(msg, code="E_AXIS")
    if _SPACING in loop:
        return _numbers(loop[_SPACING], name=name, tag=_SPACING), "d"
    if _Q in loop:
        return _numbers(loop[_Q], name=name, tag=_Q), "q"
    msg = f"{name}: the powder pattern has no angles; expected one of {', '.join(_ANGLES)} or a 2theta range"
    raise PatternError(msg, code="E_AXIS")


_SPACING, _Q = "_pd_proc_d_spacing", "_pd_proc_recip_len_q"

_MOST_SHIFT = 0.5
"""Largest difference [deg] of stated angles from those of the d of the same points. Ours: several times the shifts
of zero and sample that are corrected."""


def _two_theta(block: _Block, loop: dict[str, list[str]], *, points: int, name: str) -> np.ndarray | None:
    """Angles [deg] of the loop, or evenly spread over the stated range; None if neither is there."""
    for tag in _ANGLES:
        if tag in loop:
            return _numbers(loop[tag], name=name, tag=tag)
    for kind in ("proc", "meas"):
        limits = [block.items.get(f"_pd_{kind}_2theta_range_{end}") for end in ("min", "max", "inc")]
        if all(limit is not None for limit in limits):
            low, high, step = _numbers([str(limit) for limit in limits], name=name, tag=f"_pd_{kind}_2theta_range")
            if abs(high - (low + step * (points - 1))) > 0.5 * step + 1e-5 * points:
                msg = f"{name}: {points} points do not fit the range {low:g}-{high:g}° in steps of {step:g}°"
                raise PatternError(msg, code="E_TRUNCATED")
            return np.linspace(low, high, points)
    return None


def _note_range(block: _Block, loop: dict[str, list[str]], angles: np.ndarray) -> tuple[str, ...]:
    """A note where listed angles are not those of the range that the block states for them."""
    tag = next((tag for tag in _ANGLES if tag in loop), "")
    kind = next((kind for kind in ("meas", "proc") if tag.startswith(f"_pd_{kind}")), None)
    if kind is None:
        return ()
    texts = (block.items.get(f"_pd_{kind}_2theta_range_{end}", "") for end in ("min", "max", "inc"))
    start, stop, step = (float(found[1]) if (found := _NUMBER.fullmatch(text)) else None for text in texts)
    return note_limits(angles, start=start, stop=stop, step=step, where=f"_pd_{kind}_2theta_range")


def _check_against_spacings(two_theta: np.ndarray, block: _Block, loop: dict[str, list[str]], *, name: str) -> None:
    """Refuse angles that are not those of the d of the same points, at the wavelength of the block or at any."""
    if _SPACING not in loop:
        return
    spacings = _numbers(loop[_SPACING], name=name, tag=_SPACING)
    sines = np.sin(np.radians(two_theta / 2))
    usable = np.isfinite(spacings) & (spacings > 0) & np.isfinite(sines) & (sines > 0)
    if not usable.any():
        return
    stated = _block_wavelength(block)
    wavelength = float(np.median(2 * spacings[usable] * sines[usable])) if stated is None else stated
    expected = d_to_two_theta(spacings[usable], wavelength=wavelength)
    expected = np.where(np.isfinite(expected), expected, 180.0)
    differences = np.abs(expected - two_theta[usable])
    if float(np.median(differences)) > _MOST_SHIFT:
        worst = int(np.argmax(differences))
        msg = (
            f"{name}: the angles and {_SPACING} contradict each other: 2θ is {two_theta[usable][worst]:g}°, "
            f"d = {spacings[usable][worst]:g} Å gives {expected[worst]:.4g}° at {wavelength:.5g} Å"
        )
        raise PatternError(msg, code="E_AXIS")


def _check_count(block: _Block, *, points: int, name: str) -> list[str]:
    """A note on more points than the file states; fewer are refused, because the loop is cut off."""
    stated = [
        int(block.items[tag])
        for tag in ("_pd_meas_number_of_points", "_pd_proc_number_of_points")
        if block.items.get(tag, "").isdecimal()
    ]
    if not stated or points in stated:
        return []
    if points < min(stated):
        msg = f"{name}: the loop holds {points} points, the file states {min(stated)}: it is cut off"
        raise PatternError(msg, code="E_TRUNCATED")
    return [f"the loop holds {points} points, the file states {' and '.join(map(str, stated))}"]


def _over_counting_times(
    loop: dict[str, list[str]], intensity: np.ndarray, tag: str, *, name: str
) -> tuple[np.ndarray, list[str]]:
    """Counts over the counting time or monitor of each point, where the loop has them and they differ, and notes."""
    notes = []
    for other, what in (("_pd_meas_step_count_time", "counting time"), ("_pd_meas_counts_monitor", "monitor")):
        if other not in loop or not tag.startswith("_pd_meas_counts"):
            continue
        divisor = _numbers(loop[other], name=name, tag=other)
        if np.isfinite(divisor).all() and divisor.min() > 0 and np.ptp(divisor) > 0:
            intensity = intensity / divisor * (1.0 if what == "counting time" else float(divisor.mean()))
            notes.append(f"the counts were divided by the {what}, which varies")
    return intensity, notes


def _numbers(values: list[str], *, name: str, tag: str) -> np.ndarray:
    """Numbers without their uncertainties `(12)`; NaN for the CIF values `.` and `?`."""
    numbers = np.full(len(values), np.nan)
    for index, text in enumerate(values):
        if text in {".", "?"}:
            continue
        match = _NUMBER.fullmatch(text)
        if match is None or not np.isfinite(float(match[1])):
            msg = f"{name}, {tag} row {index + 1}: {shorten(text, limit=40)!r} is not a finite number"
            raise PatternError(msg, code="E_VALUES")
        numbers[index] = float(match[1])
    return numbers


def _wavelength(blocks: list[_Block], block: _Block) -> float | None:
    """The wavelength of the block, or of the file where it is the same throughout."""
    own = _block_wavelength(block)
    if own is not None:
        return own
    found = {wavelength for other in blocks if (wavelength := _block_wavelength(other)) is not None}
    return found.pop() if len(found) == 1 else None


def _block_wavelength(block: _Block) -> float | None:
    tag = "_diffrn_radiation_wavelength"
    for loop in block.loops:
        if tag in loop:
            values = [_one_wavelength(text) for text in loop[tag]]
            written = loop.get(f"{tag}_wt", ["1"] * len(values))
            weights = [float(text) if _NUMBER.fullmatch(text) else 1.0 for text in written]
            if all(value is not None for value in values) and sum(weights) > 0:
                return float(np.average([value or 0.0 for value in values], weights=weights))
            return None
    if tag in block.items:
        return _one_wavelength(block.items[tag])
    radiation = block.items.get("_diffrn_radiation_type", "").replace("\\a", "alpha").replace("~", "")
    return wavelength_in_text(radiation) if radiation else None


def _one_wavelength(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    return plausible_wavelength(float(match[1])) if match else None
