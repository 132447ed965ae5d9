"""Ways to write a formula → plain text: markup, names of polymorphs, hydrates, oxidation numbers, alloys, variables."""

from __future__ import annotations

import html
import re
from typing import NoReturn

from xxact_core.compositions.element_table import ATOMIC_NUMBERS
from xxact_core.compositions.material_names import LIGANDS, MATERIAL_NAMES
from xxact_core.errors import FormulaError, shorten

SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"

_HYPHENS = str.maketrans(dict.fromkeys("‐‑‒–—−﹣－", "-"))
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
"""Characters without width, which text editors and web pages put between letters."""

_LOOK_ALIKE = dict(zip("АВЕЅІЈКМНОРСТУХаеорсухіѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABESIJKMHOPCTYXaeopcyxisABEZHIKMNOPTYX", strict=True))
"""Cyrillic and Greek letters that look like Latin ones."""

_TAGS = re.compile(r"<\s*/?\s*(?:sub|inf|b|i|em|strong|span|font|p|mark)\b[^<>]*>", re.IGNORECASE)
_SUP_TAG = re.compile(r"<\s*sup\b[^<>]*>([^<>]*)<\s*/\s*sup\s*>", re.IGNORECASE)
_COMMANDS = re.compile(r"\\(?:mathrm|mathit|mathbf|text|textrm|rm|ce|ensuremath|mathsf|textnormal)(?![a-z])")
_DOTS = re.compile(r"\\(?:cdot|bullet|times|ast|centerdot)(?![a-z])")
_GREEK_COMMAND = re.compile(
    r"\\(alpha|beta|gamma|delta|epsilon|varepsilon|eta|theta|kappa|lambda|sigma|chi|omega|zeta)(?![a-z])"
)
_GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda sigma chi omega".split(),  # noqa: SIM905 - text
        "αβγδεεζηθκλσχω",
        strict=True,
    )
)

_GREEK_LETTERS = "αβγδεζηθικλμνξπρστφχψω"
_GREEK_NAMES = "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|sigma|chi|omega"
_STRUCTURE_WORDS = (
    "amorphous|cubic|hexagonal|tetragonal|orthorhombic|monoclinic|triclinic|trigonal|rhombohedral|wurtzite|"
    "zinc[ -]?blende|sphalerite|rocksalt|rutile|anatase|brookite|quartz|cristobalite|tridymite|coesite|stishovite|"
    "corundum|perovskite|spinel|fluorite|bixbyite|graphite|diamond|baddeleyite|hematite|haematite|magnetite|maghemite|"
    "wustite|calcite|aragonite|vaterite|fcc|bcc|hcp|ccp|nano|bulk|pure|anhydrous"
)
_PREFIX = re.compile(
    rf"(?:[(]?(?:[{_GREEK_LETTERS}]|(?:{_GREEK_NAMES})(?=[-\s)]))['′″]*[)]?\s*-?\s*"
    rf"|(?:[acdhilmnoprstw]|wz|zb|rs|rh)\s*-\s*|(?:fcc|bcc|hcp|hex|cub|tet|mono|ortho|rhomb)\s*-\s*"
    rf"|[0-9]{{1,3}}[CHRT]['′″]*\s*-\s*|(?i:{_STRUCTURE_WORDS})[-\s]+)(?=[A-Z(\[{{0-9])"
)
"""Prefixes of polymorphs: α-, alpha-, β', c-, h-, 4H-, 3C-, rutile."""
_SUFFIX = re.compile(
    rf"\s*[-_ ]\s*[(]?(?:[αβγηθκλσχω]['′″]*|(?:alpha|beta|gamma|eta|theta|kappa|lambda|sigma|chi|omega)"
    rf"|(?i:{_STRUCTURE_WORDS}))[)]?\s*$|\s*[(](?:(?i:{_STRUCTURE_WORDS})|s|cr|am|l|g)[)]\s*$"
)
"""The same behind a formula: TiO2 (anatase), Al2O3-α, and states of matter: Fe2O3(s); δ and ε are variables there."""
_POLYTYPE = re.compile(r"(SiC|ZnS|BN|PbI2|CdI2|(?:Mo|W)(?:S|Se|Te)2|(?:Nb|Ta)(?:S|Se)2)\s*[-_ ]\s*[0-9]{1,3}[CHRT]")

_ROMAN = re.compile(r"(?<=[A-Za-z0-9])\s?\((VIII|VII|VI|IV|III|II|I|V|viii|vii|vi|iv|iii|ii)(?:\s*[,/]\s*[IViv]+)*\)")
_BARE_ROMAN = re.compile(
    r"(?<=[A-HJ-UW-Za-z0-9)\]])(?:VI{2,3}|I{2,3}|IV|VI(?=[A-Z(\[]|$))(?![a-zI])"
    r"|(?<=[A-Za-z0-9)\]])\s+(?:VIII|VII|VI|IV|III|II)(?=\s|$)"
)
_DOUBTFUL_ROMAN = frozenset("IV")
_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[0-9]+/[0-9]+)"
_WATER = r"(?:\([HDhd]2O\)|[HD]2O)"
_VARIABLES = frozenset("xyzδεnmuvw")
_SYMBOL_OR_LETTER = re.compile(r"[A-Z][a-z]?|[a-zα-ω]")
_VALUE = re.compile(r"[,;(]?\s?\b([xyzδεnmd])\s*=\s*([0-9]*[.,]?[0-9]+)\s*(?:\)|(?=[,;:\s]|$))")


def plain_notation(text: str) -> str:
    """The text without markup: HTML and LaTeX subscripts, entities, fonts; hyphens of all kinds as `-`."""
    plain = html.unescape(text).translate(_INVISIBLE).translate(_HYPHENS)
    plain = _SUP_TAG.sub(lambda found: "".join(_TO_SUPERSCRIPT.get(c, c) for c in found[1]), plain)
    plain = _TAGS.sub("", plain)
    plain = _GREEK_COMMAND.sub(lambda found: _GREEK[found[1]], plain)
    plain = _DOTS.sub("·", plain)
    latex = bool(re.search(r"[\\$]|[_^]\{", plain))
    plain = plain.replace("\\textsubscript", "_").replace("\\textsuperscript", "^")
    plain = re.sub(r"\\[(){}\[\],;! ]", "", _COMMANDS.sub("", plain)).replace("$", "")
    plain = re.sub(r"\^\{([^{}]*)\}|\^([0-9]*[+-]|[0-9]+)", _raise, plain)
    plain = re.sub(r"(?<=[A-Za-z)\]}])_\s*(?:\{([^{}]*)\}|([0-9]))", lambda found: found[1] or found[2] or "", plain)
    plain = re.sub(r"(?<=[A-Za-z)\]])~([0-9.]+)~", r"\1", plain)
    plain = plain.replace("{", "").replace("}", "") if latex else plain  # which group, but are no brackets
    _refuse_look_alikes(plain)
    return plain.strip().strip("*`\"'“”„").strip()


def _refuse_look_alikes(text: str) -> None:
    """Refuse letters of another alphabet that look like Latin ones: the O of SiO2 may be a Cyrillic one."""
    for place, character in enumerate(text):
        if character in _LOOK_ALIKE:
            alphabet = "Greek" if "\u0370" <= character <= "\u03ff" else "Cyrillic"
            meant = shorten("".join(_LOOK_ALIKE.get(letter, letter) for letter in text), limit=40)
            hint = f"; did you mean {meant}?" if meant.isascii() else ""
            refuse(text, place, f"{character!r} is a {alphabet} letter{hint}")


_TO_SUPERSCRIPT = {**dict(zip("0123456789", SUPERSCRIPTS, strict=True)), "+": "⁺", "-": "⁻"}


def _raise(found: re.Match[str]) -> str:
    return "".join(_TO_SUPERSCRIPT.get(character, character) for character in (found[1] or found[2] or ""))


def without_polymorph(text: str) -> str:
    """The formula without the name of its polymorph: α-Fe2O3, 4H-SiC, TiO2 (anatase)."""
    prefix = _PREFIX.match(text)
    stripped = text[prefix.end() :] if prefix else text
    polytype = _POLYTYPE.fullmatch(stripped)
    return polytype[1] if polytype else _SUFFIX.sub("", stripped) or text


def with_decimal_points(text: str) -> str:
    """Decimal commas as points: digits on both sides, and no blank."""
    return re.sub(r"(?<=[0-9]),(?=[0-9])", ".", text)


def without_oxidation_numbers(text: str) -> str:
    """The formula without Roman oxidation numbers: Fe(III)2O3 → Fe2O3.

    Raises:
        FormulaError: (I), (V), II, III, IV or VI without brackets, which may be iodine or vanadium.
    """
    for found in _ROMAN.finditer(text):
        if found[0].strip(" ()") in _DOUBTFUL_ROMAN:
            _refuse_roman(text, found, "vanadium" if found[1] == "V" else "iodine")
    without = _ROMAN.sub("", text)
    if bare := _BARE_ROMAN.search(without):
        _refuse_roman(without, bare, "iodine and vanadium" if "V" in bare[0] else "iodine")
    return without


def _refuse_roman(text: str, found: re.Match[str], element: str) -> NoReturn:
    numeral = found[0].strip(" ()")
    behind = text[found.end() :]
    without = shorten(text[: found.start()] + (behind.lstrip() if found[0][0].isspace() else behind), limit=40)
    reason = f"{numeral} may be an oxidation number or {element}; write {without}"
    if len(set(numeral)) == 1:
        reason += f", or {numeral[0]}{len(numeral)} for {element}"
    elif not found[0].startswith((" ", "(")) and len(numeral) == 2:  # noqa: PLR2004 - IV and VI
        reason += f", or {numeral[0]}1{numeral[1]} for {element}"
    refuse(text, found.start(), reason)


def with_hydrate_dots(text: str) -> str:
    """Water of crystallisation behind a blank, a plus, an x or a hyphen, as a sum: CuSO4 5H2O → CuSO4·5H2O.

    Raises:
        FormulaError: a number between blanks belongs to the element before it, or to the water.
    """
    count = rf"({_NUMBER}\s*|)"
    text = re.sub(rf"([·.+x]\s*{_NUMBER})\s*(?:aq\.?|\(aq\))\s*$", r"\1H2O", text)
    text = re.sub(rf"(?<=[0-9A-Za-z)\]}}])\s*[xX]\s*({_NUMBER})\s*({_WATER})\s*$", r"·\1\2", text)
    text = re.sub(rf"(?<=[0-9A-Za-z)\]}}])\s*[-+]\s*{count}({_WATER})\s*$", r"·\1\2", text)
    text = re.sub(rf"(?<=[0-9A-Za-z)\]}}])\s*,\s+{count}({_WATER})\s*$", r"·\1\2", text)
    if slash := re.search(rf"(?<=[A-Za-z)\]}}])[0-9]*\s*(/)\s*[0-9.]*\s*{_WATER}\s*$", text):
        refuse(text, slash.start(1), "the slash before the water can be read in two ways; write · for a hydrate")
    if point := re.search(rf"\s+\.[0-9]+\s*{_WATER}\s*$", text):
        refuse(text, point.start(), "the full stop can be read in two ways; write · for a sum, 0.5 for a decimal")
    text = re.sub(rf"(?<=[0-9)\]}}])\s+({_NUMBER})\s*({_WATER})\s*$", r"·\1\2", text)
    text = re.sub(rf"(?<=[A-Za-z])\s+({_NUMBER})({_WATER})\s*$", r"·\1\2", text)
    doubtful = re.search(rf"(?<=[A-Za-z])\s+{_NUMBER}\s+{_WATER}\s*$", text)
    if doubtful and not re.search(r"[A-Za-z]\s+[0-9]", text[: doubtful.start() - 1]):
        refuse(text, doubtful.start(), "the number before the water can be read in two ways; write · for a hydrate")
    text = re.sub(rf"([.·])\s*({_NUMBER})\s+({_WATER})\s*$", r"\1\2\3", text)
    return re.sub(rf"\.([0-9]+/[0-9]+)(?=\s*{_WATER}\s*$)", r"·\1", text)


def with_values(text: str) -> str:
    """A formula with its variables replaced, where their values follow: La1-xSrxMnO3, x = 0.3."""
    values = {found[1]: float(found[2].replace(",", ".")) for found in _VALUE.finditer(text)}
    if not values:
        return text
    plain = _DELTA.sub(r"\1δ", _VALUE.sub("", text).strip(" ,;:"))
    return _evaluate(plain, {**values, **({"δ": values["d"]} if "d" in values else {})})


_DELTA = re.compile(r"(?<=[0-9])\s*([-+])\s*(?:delta|d)(?![a-z])")


def check_variables(text: str) -> str:
    """The formula, if all its amounts are numbers; polymers such as (C2H4)n are read as one unit.

    Raises:
        FormulaError: a variable without a value, or a range of amounts; the message suggests what to write.
    """
    polymer = re.fullmatch(r"[(\[]([^()\[\]]+)[)\]]\s*n", text)
    if polymer:
        return polymer[1]
    plain = _DELTA.sub(r"\1δ", text)
    place = find_variable(plain)
    if place is not None:
        name = plain[place]
        reason = f"{name} has no value; write numbers, {name} = 0.1 behind the formula{elements_hint(plain)}"
        refuse(plain, place, reason)
    limits = re.search(r"(?<=[A-Za-z)\]])([0-9]*\.?[0-9]+)\s*-\s*([0-9]*\.[0-9]+|[0-9]+$)(?![0-9]*%)", plain)
    if limits and "." in limits[0]:
        reason = f"the amount is a range, from {limits[1]} to {limits[2]}; write one number{elements_hint(plain)}"
        refuse(plain, limits.start(1), reason)
    return plain


def find_variable(text: str) -> int | None:
    """Place of the first amount that is a letter: x of LixCoO2; None if there is none."""
    if not re.match(r"[0-9.()\[{xyz+-]*[A-Z]", text):
        return None
    word = -1
    for found in _SYMBOL_OR_LETTER.finditer(text):
        place = found.end() - 1
        if len(found[0]) == 1 and found[0].islower():  # a letter within a word is no amount
            before, word = word, found.end()
            if before == found.start():
                continue
        if text[place] not in _VARIABLES or text[place + 1 : place + 2].islower():
            continue
        if place and (len(found[0]) == 1 or (found[0] not in ATOMIC_NUMBERS and found[0][0] in ATOMIC_NUMBERS)):
            return place
    return None


_DECIMAL = r"[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+"


def _evaluate(text: str, values: dict[str, float]) -> str:
    """Replace amounts such as x, 1-x, 2+2x, (1-x) by numbers."""
    names = "".join(values)
    term = rf"(?:(?:{_DECIMAL})?[{names}]|{_DECIMAL})"
    terms = rf"{term}(?:\s*[-+]\s*{term})*"
    amount = re.compile(rf"\(({terms})\)|({terms})")

    def number(found: re.Match[str]) -> str:
        written = found[1] or found[2]
        if not set(written) & set(names):
            return found[0]
        total = 0.0
        for sign, factor, name in re.findall(rf"([-+]?)\s*((?:{_DECIMAL})?)([{names}]?)", written):
            if factor or name:
                value = float(factor or 1) * (values[name] if name else 1.0)
                total += -value if sign == "-" else value
        return f"{total:.9g}"

    def number_behind(found: re.Match[str]) -> str:
        return found[0] if found[0] in ATOMIC_NUMBERS else f"{found[1]}{values[found[2]]:.9g}"

    pieces = re.split(r"([A-Z][a-z]?)", text)
    for place in range(0, len(pieces), 2):
        pieces[place] = amount.sub(number, pieces[place])
    # A letter behind a symbol may have been taken for its second one: Srx, Lix.
    return re.sub(rf"([A-Z])([{names}])(?![a-z])", number_behind, "".join(pieces))


def elements_hint(text: str) -> str:
    """`, or only the elements: La,Sr,Mn,O`, for messages; empty where a symbol is no element."""
    symbols = dict.fromkeys(re.findall(r"[A-Z][a-z]?", text))
    known = dict.fromkeys(symbol if symbol in ATOMIC_NUMBERS else symbol[:1] for symbol in symbols)
    return f", or only the elements: {','.join(known)}" if known and set(known) <= set(ATOMIC_NUMBERS) else ""


def check_name(text: str, *, dopants: str = "") -> None:
    """Refuse the name of a material, with its formula and elements that may be present, such as `?Ce`.

    Raises:
        FormulaError: the text is a name, an abbreviation or a grade such as quartz, YBCO or Ti6Al4V.
    """
    plain = re.sub(r"\s+", " ", text.strip())
    for name in (plain, plain.lower()):
        if name in MATERIAL_NAMES:
            formula = f"{MATERIAL_NAMES[name]} {dopants}".strip()
            msg = f"{shorten(plain)!r} is the name of a material; write its formula: {formula}"
            raise FormulaError(msg, code="E_FORMULA")


_LIGAND = re.compile(rf"\(({'|'.join(sorted(LIGANDS, key=len, reverse=True))})\)|(?<=[A-Za-z0-9)])(OAc)(?![a-z])")


def check_ligands(text: str) -> None:
    """Refuse abbreviations of groups, some of which are element symbols: the Ac of Zn(OAc)2 is no actinium.

    Raises:
        FormulaError: what to write instead.
    """
    if found := _LIGAND.search(text):
        group = found[1] or found[2]
        refuse(
            text, found.start(found.lastindex or 0), f"{group} is the abbreviation of a group; write {LIGANDS[group]}"
        )


def refuse(text: str, position: int, reason: str) -> NoReturn:
    """Raise that a formula cannot be read, with the place and the reason."""
    msg = f"formula {shorten(text)!r}, character {position + 1}: {reason}"
    raise FormulaError(msg, code="E_FORMULA")
