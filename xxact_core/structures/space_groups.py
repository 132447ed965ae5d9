"""Symbols of the space groups."""

from __future__ import annotations

_SYMBOLS = """
P1 P-1 P2 P2₁ C2 Pm Pc Cm Cc P2/m P2₁/m C2/m P2/c P2₁/c C2/c P222 P222₁ P2₁2₁2 P2₁2₁2₁ C222₁ C222 F222 I222 I2₁2₁2₁
Pmm2 Pmc2₁ Pcc2 Pma2 Pca2₁ Pnc2 Pmn2₁ Pba2 Pna2₁ Pnn2 Cmm2 Cmc2₁ Ccc2 Amm2 Aem2 Ama2 Aea2 Fmm2 Fdd2 Imm2 Iba2 Ima2
Pmmm Pnnn Pccm Pban Pmma Pnna Pmna Pcca Pbam Pccn Pbcm Pnnm Pmmn Pbcn Pbca Pnma Cmcm Cmce Cmmm Cccm Cmme Ccce Fmmm
Fddd Immm Ibam Ibca Imma P4 P4₁ P4₂ P4₃ I4 I4₁ P-4 I-4 P4/m P4₂/m P4/n P4₂/n I4/m I4₁/a P422 P42₁2 P4₁22 P4₁2₁2
P4₂22 P4₂2₁2 P4₃22 P4₃2₁2 I422 I4₁22 P4mm P4bm P4₂cm P4₂nm P4cc P4nc P4₂mc P4₂bc I4mm I4cm I4₁md I4₁cd P-42m P-42c
P-42₁m P-42₁c P-4m2 P-4c2 P-4b2 P-4n2 I-4m2 I-4c2 I-42m I-42d P4/mmm P4/mcc P4/nbm P4/nnc P4/mbm P4/mnc P4/nmm
P4/ncc P4₂/mmc P4₂/mcm P4₂/nbc P4₂/nnm P4₂/mbc P4₂/mnm P4₂/nmc P4₂/ncm I4/mmm I4/mcm I4₁/amd I4₁/acd P3 P3₁ P3₂ R3
P-3 R-3 P312 P321 P3₁12 P3₁21 P3₂12 P3₂21 R32 P3m1 P31m P3c1 P31c R3m R3c P-31m P-31c P-3m1 P-3c1 R-3m R-3c P6 P6₁
P6₅ P6₂ P6₄ P6₃ P-6 P6/m P6₃/m P622 P6₁22 P6₅22 P6₂22 P6₄22 P6₃22 P6mm P6cc P6₃cm P6₃mc P-6m2 P-6c2 P-62m P-62c
P6/mmm P6/mcc P6₃/mcm P6₃/mmc P23 F23 I23 P2₁3 I2₁3 Pm-3 Pn-3 Fm-3 Fd-3 Im-3 Pa-3 Ia-3 P432 P4₂32 F432 F4₁32 I432
P4₃32 P4₁32 I4₁32 P-43m F-43m I-43m P-43n F-43c I-43d Pm-3m Pn-3n Pm-3n Pn-3m Fm-3m Fm-3c Fd-3m Fd-3c Im-3m Ia-3d
""".split()  # noqa: SIM905 - the table is read as text
"""Short Hermann-Mauguin symbols of 1-230. Source: International Tables for Crystallography A, standard settings."""


def space_group_name(label: str) -> str:
    """Symbol and number of a space group from its number as text; other text is returned unchanged."""
    if label.isdecimal() and 1 <= int(label) <= len(_SYMBOLS):
        return f"{_SYMBOLS[int(label) - 1]} ({label})"
    return label
