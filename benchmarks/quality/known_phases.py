"""What is known of the phases that `search_match.py` looks for: space groups, weighed mixtures, published cells."""

from __future__ import annotations

from dataclasses import dataclass

COMMON_PHASES: dict[str, tuple[int, ...]] = {
    "corundum": (167,),
    "fluorite": (225,),
    "quartz": (152, 154),  # the two hands of one structure
    "calcite": (167,),
    "LaB6": (221,),
    "silicon": (227,),
    "ceria": (225,),
    "zincite": (186,),
    "rutile": (136,),
    "anatase": (141,),
    "periclase": (225,),
    "halite": (225,),
    "sylvite": (225,),
    "hematite": (167,),
    "magnetite": (227,),
    "bunsenite": (225,),
    "lime": (225,),
    "yttria": (206,),
    "baddeleyite": (14,),
    "BTO": (99,),
    "STO": (221,),
    "Al": (225,),
    "Cu": (225,),
    "Au": (225,),
    "Ag": (225,),
    "Ni": (225,),
    "bcc-Fe": (229,),
    "W": (229,),
    "hcp-Ti": (194,),
    "Zn": (194,),
    "Pt": (225,),
    "graphite": (194,),
    "diamond": (227,),
    "hBN": (194,),
    "SiC": (216, 186),  # 3C; 6H and 4H
    "WC": (187,),
    "TiN": (225,),
    "TiC": (225,),
    "GaN": (186,),
    "GaAs": (216,),
    "CdS": (186,),
    "sphalerite": (216,),
    "galena": (225,),
    "pyrite": (205,),
    "tenorite": (15,),
    "cuprite": (224,),
    "eskolaite": (167,),
    "pyrolusite": (136,),
    "Co3O4": (227,),
    "LCO": (166,),
    "LFP": (62,),
    "LMO": (227,),
    "anhydrite": (63,),
    "barite": (62,),
    "anglesite": (62,),
    "dolomite": (148,),
    "magnesite": (167,),
    "brucite": (164,),
    "portlandite": (164,),
    "gibbsite": (14,),
    "boehmite": (63,),
    "goethite": (62,),
    "orthoclase": (12,),
    "albite": (2,),
    "forsterite": (62,),
    "zircon": (141,),
    "mullite": (55,),
    "alite": (2, 8, 160),  # T1; M3; R
    "belite": (14,),
    "hydroxyapatite": (176, 173),  # OH disordered along its column; ordered
    "monetite": (2, 1),  # protons disordered; ordered
    "In2O3": (206,),
    "cassiterite": (136,),
    "WO3": (14,),
    "V2O5": (59,),
    "MoO3": (62,),
    "molybdenite": (194,),
    "Bi2Te3": (166,),
    "stibnite": (62,),
    "CsPbBr3": (62,),
    "BFO": (161,),
    "YBCO": (47,),
    "scheelite": (88,),
    "spinel": (227,),
    "ilmenite": (148,),
    "perovskite": (62,),
}
"""Name in `common_phases.csv` → space groups of the polymorph of that name at room temperature."""

SOLID_SOLUTIONS = {"mullite": 0.03, "alite": 0.03}
"""Common phases of variable composition → difference in atomic fractions at which an entry is still the phase."""

CPD_WEIGHTS: dict[str, dict[str, float]] = {
    "cpd-1a": {"Al2O3": 1.15, "ZnO": 4.04, "CaF2": 94.81},
    "cpd-1b": {"Al2O3": 94.31, "ZnO": 1.36, "CaF2": 4.33},
    "cpd-1c": {"Al2O3": 5.04, "ZnO": 93.59, "CaF2": 1.36},
    "cpd-1d": {"Al2O3": 13.53, "ZnO": 32.89, "CaF2": 53.58},
    "cpd-1e": {"Al2O3": 55.12, "ZnO": 15.25, "CaF2": 29.62},
    "cpd-1f": {"Al2O3": 27.06, "ZnO": 55.22, "CaF2": 17.72},
    "cpd-1g": {"Al2O3": 31.37, "ZnO": 34.21, "CaF2": 34.42},
    "cpd-1h": {"Al2O3": 35.12, "ZnO": 30.19, "CaF2": 34.69},
    "cpd-2": {"Al2O3": 21.27, "ZnO": 19.94, "CaF2": 22.53, "Mg(OH)2": 36.26},
    "cpd-4": {"Al2O3": 50.46, "Fe3O4": 19.64, "ZrSiO4": 29.90},
}
"""File of the IUCr CPD round robin on quantitative phase analysis → weighed phases [wt%].

Source: Madsen, Scarlett, Cranswick & Lwin (2001), J. Appl. Cryst. 34, 409-426, sample 1; Scarlett et al. (2002),
J. Appl. Cryst. 35, 383-400, samples 2 (plates that lie flat) and 4 (chosen for its strong microabsorption).
"""


@dataclass(frozen=True)
class PublishedCell:
    """Lengths of a conventional cell at room temperature."""

    lengths: tuple[float, ...]
    """The lengths that the symmetry leaves different, ascending [Å]."""

    source: str


PUBLISHED_CELLS: dict[tuple[str, int], PublishedCell] = {
    ("LaB6", 221): PublishedCell((4.156826,), "NIST SRM 660c, certificate"),
    ("Al2O3", 167): PublishedCell((4.759091, 12.991779), "NIST SRM 676a, certificate"),
    ("Si", 227): PublishedCell((5.431144,), "NIST SRM 640f, certificate"),
    ("SiO2", 152): PublishedCell((4.91338, 5.40524), "NIST SRM 1878a, certificate"),
    ("ZnO", 186): PublishedCell((3.24982, 5.20661), "McMurdie et al. (1986), Powder Diffr. 1, 76"),
    ("CaF2", 225): PublishedCell((5.46305,), "McMurdie et al. (1986), Powder Diffr. 1, 64"),
    ("TiO2", 136): PublishedCell((2.9592, 4.5933), "NBS Monograph 25, section 7 (1969), 83"),
    ("TiO2", 141): PublishedCell((3.7852, 9.5139), "NBS Monograph 25, section 7 (1969), 82"),
    ("Mg(OH)2", 164): PublishedCell((3.14979, 4.7702), "Catti et al. (1995), Phys. Chem. Miner. 22, 200"),
    ("Fe3O4", 227): PublishedCell((8.3969,), "Fleet (1984), Acta Cryst. C40, 1491"),
    ("ZrSiO4", 141): PublishedCell((5.9796, 6.6042), "Hazen & Finger (1979), Am. Mineral. 64, 196"),
    ("PbSO4", 62): PublishedCell((5.398, 6.959, 8.482), "Miyake et al. (1978), Am. Mineral. 63, 506"),
    ("MnO", 225): PublishedCell((4.4448,), "Wyckoff (1963), Crystal Structures 1, 85"),
    ("MnS", 225): PublishedCell((5.224,), "NBS Circular 539, volume 4 (1955), 11"),
    ("MnO2", 136): PublishedCell((2.8740, 4.3999), "NBS Monograph 25, section 10 (1972), 39"),
    ("Mn2O3", 206): PublishedCell((9.4091,), "NBS Monograph 25, section 11 (1974), 95"),
    ("Sn", 141): PublishedCell((3.1815, 5.8316), "Lee & Raynor (1954), Proc. Phys. Soc. B 67, 737"),
    ("WO3", 14): PublishedCell((7.30084, 7.53889, 7.68962), "Woodward et al. (1995), J. Phys. Chem. Solids 56, 1305"),
    ("Zr", 194): PublishedCell((3.2316, 5.1475), "Lichter (1960), Trans. AIME 218, 1015"),
}
"""Formula and space group of measured single phases → published cell.

Powders of other origin than the published ones: chemistry and defects account for differences of some 0.01-0.05 %.
"""
