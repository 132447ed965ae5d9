"""Composition → formula as chemists write it: ZnO, LaB6, CaCO3, Mg(OH)2, CuSO4·5H2O."""

from __future__ import annotations

import re
from itertools import product
from math import isnan

from xxact_core.compositions.composition import Composition
from xxact_core.compositions.element_table import ATOMIC_NUMBERS, ELECTRONEGATIVITIES, SYMBOLS
from xxact_core.compositions.formula import capitals_of_one_element, parse_formula, reduced_amounts
from xxact_core.compositions.material_names import MATERIAL_NAMES

_NOT_REDUCED = {
    **{symbol: f"{symbol}2" for symbol in ("H", "N", "O", "F", "Cl")},
    **{f"{symbol}O": f"{symbol}2O2" for symbol in ("H", "Li", "Na", "K", "Rb", "Cs")},
}
"""Molecules and peroxides, whose reduced formula is not used. Source: pymatgen's `Composition.special_formulas`."""

_HALOGENS = ("F", "Cl", "Br", "I")

_NONMETALS = frozenset({"H", "B", "C", "N", "O", "Si", "P", "S", "Ge", "As", "Se", "Sb", "Te", *_HALOGENS})
"""Elements written behind all others, as in MoSi2 and PtAs2; metalloids are among them."""

_CENTRES = (
    "Fe", "Al", "Cr", "Ti", "Zr", "Hf", "Ge", "Si", "H", "Nb", "Ta", "V", "Mo", "W", "Re", "B", "Te", "Sb", "As", "P",
    "Se", "S", "C", "N", "Cl", "Br", "I",
)  # fmt: skip
"""Elements written last before oxygen, in this order: PbTiO3, NiFe2O4, KAlSi3O8, KNO3."""

_OXOANIONS = {"C": (3, 2), "N": (3, 1), "S": (4, 2), "P": (4, 3), "As": (4, 3), "Se": (4, 2), "Cl": (4, 1)}
"""Oxygen atoms and negative charge of oxoanions, distinguished from hydroxide and water by charge balance."""

_GROUPS = {symbol: oxygen for symbol, (oxygen, _) in _OXOANIONS.items()} | {
    "B": 3,
    "Si": 4,
    "V": 4,
    "Cr": 4,
    "Mo": 4,
    "W": 4,
}
"""Oxygen atoms of each group that is bracketed where a formula holds several: Fe2(MoO4)3, Ca3Al2(SiO4)3."""

_OXIDATION_STATES: dict[str, tuple[int, ...]] = {
    symbol: states
    for states, symbols in (
        ((1,), "Li Na K Rb Cs Ag"),
        ((2,), "Be Mg Ca Sr Ba Zn Cd Ni Cu"),
        ((3,), "Al Ga In Sc Y La Pr Nd Sm Gd Tb Dy Ho Er Tm Yb Lu Bi Cr"),
        ((2, 3), "Mn Fe Co Eu"),
        ((2, 4), "Sn Pb"),
        ((3, 4), "Ce"),
        ((4,), "Zr Hf Ti Th"),
    )
    for symbol in symbols.split()
}
"""Oxidation states of metals in salts and hydroxides."""


def format_formula(composition: Composition | str, *, subscripts: bool = False) -> str:
    """The reduced formula as chemists write it.

    Elements are in order of electronegativity, as in pymatgen, with nonmetals behind metals and the centres of
    oxoanions last before oxygen: ZnO, LaB6, MoSi2, PbTiO3. Several oxoanions are bracketed: Al2(SO4)3. Hydroxide,
    ammonium and water of crystallisation are written where the counts and the balance of charges allow no other simple
    reading: Mg(OH)2, (NH4)2SO4, CuSO4·5H2O. Other compounds of carbon and hydrogen are in Hill's order: CH6I3NPb. Rare
    earths precede alkaline earths in oxides of Mn, Fe, Co, Ni and Cu: YBa2Cu3O7; oxygen precedes nitrogen: TaON.

    Args:
        composition: a composition, or a formula that `parse_formula` reads.
        subscripts: whether to write Unicode subscripts, TiO₂, for display.

    Raises:
        FormulaError: the text is no formula.
    """
    composition = parse_formula(composition) if isinstance(composition, str) else composition
    amounts = reduced_amounts(composition)
    formula = _salt(amounts) or "".join(_part(symbol, amounts[symbol]) for symbol in _order(amounts))
    formula = _NOT_REDUCED.get(formula, formula)
    if formula in MATERIAL_NAMES:  # C3S, which could be taken for the phase of cement
        symbol = re.match(r"[A-Z][a-z]?(?![0-9])", formula)
        formula = f"{formula[: symbol.end()]}1{formula[symbol.end() :]}" if symbol else f"{formula}1"
    elif capitals_of_one_element(formula):
        formula = f"{formula[0]}1{formula[1:]}"  # S1NF3, which could be taken for SnF3
    formula = re.sub(r"(?<=[A-Za-z0-9)])VI(?=[A-Z(]|$)", "V1I", formula)  # VI is an oxidation number, too
    return re.sub(r"(?<=[A-Za-z)])[0-9]+", _to_subscripts, formula) if subscripts else formula


def _order(amounts: dict[str, str]) -> list[str]:
    """All elements, in the order of a formula without groups."""
    if "C" in amounts and "H" in amounts:
        return ["C", "H", *sorted(set(amounts) - {"C", "H"})]
    oxide = "O" in amounts and len(amounts) > 2  # noqa: PLR2004 - oxoanions take a third element
    centres = [symbol for symbol in _CENTRES if oxide and _is_centre(symbol, amounts)]
    places: dict[str, tuple[int, float]] = {}
    for symbol in amounts:
        value = ELECTRONEGATIVITIES[ATOMIC_NUMBERS[symbol] - 1]
        value = 5.0 if isnan(value) else value  # noble gases come last
        if symbol in _RARE_EARTHS and oxide and {"Ca", "Sr", "Ba"} & set(amounts) and _MAGNETIC & set(amounts):
            value = 0.8  # YBa2Cu3O7, LaSrMnO4
        if symbol in {"Cu", "Ag"} and "O" not in amounts and {"S", "Se", "Te"} & set(amounts):
            value = 1.5  # CuFeS2, CuInSe2
        if symbol in centres:
            places[symbol] = (1, centres.index(symbol))
        elif oxide and symbol in _NONMETALS:
            places[symbol] = (2 if symbol == "O" else 3, value)
        elif symbol == "H" and "N" in amounts:
            places[symbol] = (1, ELECTRONEGATIVITIES[ATOMIC_NUMBERS["N"] - 1] + 0.01)  # NH3, LiNH2, NH4Cl
        else:
            places[symbol] = (1 if symbol in _NONMETALS else 0, value)
    return sorted(amounts, key=lambda symbol: (*places[symbol], symbol))


_MAGNETIC = frozenset({"Mn", "Fe", "Co", "Ni", "Cu"})
"""Metals in oxides of which rare earths are written before alkaline earths."""

_OXYNITRIDES = frozenset({"Al", "Ga", "Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W"})
"""Elements that form oxynitrides, in which nitrogen is an anion: TaON, LaTiO2N."""

_RARE_EARTHS = frozenset({"Sc", "Y", *SYMBOLS[56:71]})


def _is_centre(symbol: str, amounts: dict[str, str]) -> bool:
    """Whether an element of an oxide is written before oxygen; N, S, Se and halogens may be anions: La2O2S, BiOCl."""
    if symbol == "N" and _OXYNITRIDES & set(amounts) and "H" not in amounts:
        return symbol in amounts and float(amounts["O"]) >= 3 * float(amounts[symbol])
    if symbol not in {"S", "Se", *_HALOGENS}:
        return symbol in amounts
    alone = symbol not in _HALOGENS or not {"B", "Si", "P", "As", "S", "Se", "C", "N"} & set(amounts)
    return symbol in amounts and alone and float(amounts["O"]) >= 3 * float(amounts[symbol])


def _salt(amounts: dict[str, str]) -> str:
    """Formula of a salt, a hydroxide or a hydrate with its groups; empty where it is none for certain."""
    if not all(amount.isdigit() for amount in amounts.values()):
        return ""
    counts = {symbol: int(amount) for symbol, amount in amounts.items()}
    if "O" not in counts:
        return _ammonium_halide(counts)
    for centre in (*_GROUPS, None):
        if (centre is None or centre in counts) and (formula := _salt_of(centre, dict(counts))):
            return formula
    return ""


def _ammonium_halide(counts: dict[str, int]) -> str:
    """NH4Cl, (NH4)2SiF6, NH4I3; empty for anything else."""
    if "N" not in counts or counts.get("H") != 4 * counts["N"] or "C" in counts or not set(counts) & set(_HALOGENS):
        return ""
    rest = {symbol: str(count) for symbol, count in counts.items() if symbol not in {"N", "H"}}
    return _group("NH4", counts["N"]) + "".join(_part(symbol, rest[symbol]) for symbol in _order(rest))


def _salt_of(centre: str | None, counts: dict[str, int]) -> str:
    """The same with this element in the centre of the oxoanions, or without oxoanions."""
    order = _order({symbol: str(count) for symbol, count in counts.items()})
    hydrogen, ammonium = counts.get("H", 0), 0
    if "N" in counts and centre != "N" and hydrogen >= 4 * counts["N"]:
        ammonium = counts.pop("N")
        hydrogen -= 4 * ammonium
    halides = [symbol for symbol in _HALOGENS if symbol in counts and symbol != centre]
    cations = [symbol for symbol in order if symbol in counts and symbol not in {centre, "O", "H", *halides}]
    oxoanions = 0 if centre is None else counts[centre]
    oxygen = counts["O"] - (0 if centre is None else _GROUPS[centre] * oxoanions)
    framework = centre == "Si" and 2 * (counts["Si"] + counts.get("Al", 0)) == counts["O"]  # CaAl2Si2O8
    if not (cations or ammonium) or set(cations) & _NONMETALS or oxygen < 0 or framework:
        return ""
    front = (_group("NH4", ammonium) if ammonium else "") + "".join(_part(symbol, counts[symbol]) for symbol in cations)
    group = "" if centre is None else _group(f"{centre}O{_GROUPS[centre]}", oxoanions)
    back = "".join(_part(symbol, counts[symbol]) for symbol in halides)
    if "H" not in counts:
        return front + group + back if centre is not None and not oxygen else ""
    if (centre is not None and centre not in _OXOANIONS) or not set(cations) <= set(_OXIDATION_STATES):
        return ""
    states = product(*(_OXIDATION_STATES[symbol] for symbol in cations))
    positive = {
        ammonium + sum(counts[symbol] * state for symbol, state in zip(cations, chosen, strict=True))
        for chosen in states
    }
    negative = (0 if centre is None else oxoanions * _OXOANIONS[centre][1]) + sum(counts[symbol] for symbol in halides)
    acid = hydrogen - 2 * oxygen
    if acid >= 0 and negative and negative - acid in positive:
        water = "" if not oxygen else f"·{'' if oxygen == 1 else oxygen}H2O"
        return front + (_part("H", acid) if acid else "") + group + back + water
    oxide = oxygen - hydrogen
    if hydrogen > 0 and oxide >= 0 and not (oxide and negative) and negative + hydrogen + 2 * oxide in positive:
        bracketed = len(cations) > 1 or counts[cations[0]] > 1 or group or back or oxide or hydrogen > 1
        hydroxide = ("(OH)" if bracketed else "OH") + ("" if hydrogen == 1 else str(hydrogen))
        return front + group + (_part("O", oxide) if oxide else "") + hydroxide + back
    return ""


def _part(symbol: str, amount: str | int) -> str:
    return symbol if str(amount) == "1" else f"{symbol}{amount}"


def _group(group: str, count: int) -> str:
    return group if count == 1 else f"({group}){count}"


def _to_subscripts(found: re.Match[str]) -> str:
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in found[0])
