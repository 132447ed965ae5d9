"""The chemical elements in order of atomic number."""

from __future__ import annotations

SYMBOLS = tuple(
    """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo
    Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl
    Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
    """.split()
)
"""Element symbols; `SYMBOLS[z - 1]` has atomic number z. Source: IUPAC periodic table, 2022."""

ATOMIC_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}

ATOMIC_MASSES = tuple(
    float(mass)
    for mass in """
    1.008 4.002602 6.94 9.0121831 10.81 12.011 14.007 15.999 18.99840316 20.1797 22.98976928 24.305 26.9815385
    28.085 30.973762 32.06 35.45 39.948 39.0983 40.078 44.955908 47.867 50.9415 51.9961 54.938044 55.845 58.933194
    58.6934 63.546 65.38 69.723 72.63 74.921595 78.971 79.904 83.798 85.4678 87.62 88.90584 91.224 92.90637 95.95
    97.90721 101.07 102.9055 106.42 107.8682 112.414 114.818 118.71 121.76 127.6 126.90447 131.293 132.905452
    137.327 138.90547 140.116 140.90766 144.242 144.91276 150.36 151.964 157.25 158.92535 162.5 164.93033 167.259
    168.93422 173.054 174.9668 178.49 180.94788 183.84 186.207 190.23 192.217 195.084 196.966569 200.592 204.38
    207.2 208.9804 208.98243 209.98715 222.01758 223.01974 226.02541 227.02775 232.0377 231.03588 238.02891
    237.04817 244.06421 243.06138 247.07035 247.07031 251.07959 252.083 257.09511 258.09843 259.101 262.11 267.122
    268.126 271.134 270.133 269.1338 278.156 281.165 281.166 285.177 286.182 289.19 289.194 293.204 293.208 294.214
    """.split()
)
"""Standard atomic weights [g/mol], or the mass of the longest-lived isotope; `ATOMIC_MASSES[z - 1]` is element z's.

Source: IUPAC technical report, Pure Appl. Chem. 88 (2016) 265; as in ase.
"""

AVOGADRO = 0.602214076
"""Å³ mol/cm³, so that g/mol / Å³ becomes g/cm³. Source: SI (2019)."""

ELECTRONEGATIVITIES = tuple(
    float(value)
    for value in """
    2.2 nan 0.98 1.57 2.04 2.55 3.04 3.44 3.98 nan 0.93 1.31 1.61 1.9 2.19 2.58 3.16 nan 0.82 1 1.36 1.54 1.63 1.66 1.55
    1.83 1.88 1.91 1.9 1.65 1.81 2.01 2.18 2.55 2.96 3 0.82 0.95 1.22 1.33 1.6 2.16 1.9 2.2 2.28 2.2 1.93 1.69 1.78 1.96
    2.05 2.1 2.66 2.6 0.79 0.89 1.1 1.12 1.13 1.14 1.13 1.17 1.2 1.2 1.1 1.22 1.23 1.24 1.25 1.1 1.27 1.3 1.5 2.36 1.9
    2.2 2.2 2.28 2.54 2 1.62 2.33 2.02 2 2.2 2.2 0.7 0.9 1.1 1.3 1.5 1.38 1.36 1.28 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3
    nan nan nan nan nan nan nan nan nan nan nan nan nan nan nan
    """.split()
)
"""Electronegativities on Pauling's scale; `ELECTRONEGATIVITIES[z - 1]` is element z's, NaN where there is none.

Source: CRC Handbook of Chemistry and Physics, 85th edition, section 9; as in pymatgen.
"""

VILLARS_ORDER = tuple(
    """
    He Ne Ar Kr Xe Rn Fr Cs Rb K Na Li Ra Ba Sr Ca Yb Eu Sc Lu Tm Er Ho Dy Y Tb Gd Sm Pm Nd Pr Ce La Lr No Md Fm
    Es Cf Bk Cm Am Pu Np U Pa Th Ac Zr Hf Ti Ta Nb V W Mo Cr Re Tc Mn Fe Ru Os Co Rh Ir Ni Pt Pd Au Ag Cu Mg Hg
    Cd Zn Be Tl In Al Ga Pb Sn Ge Si B Bi Sb As P Po Te Se S C At I Br Cl N O F H
    """.split()
)
"""Elements by Mendeleev number: those of one group, and the lanthanides, are adjacent.

Source: Villars et al., J. Alloys Compd. 367 (2004) 167; as in pymatgen.
"""

TYPICAL_FRACTIONS = tuple(
    float(fraction)
    for fraction in """
    0.36 0.25 0.20 0.30 0.27 0.22 0.26 0.54 0.50 0.25 0.18 0.38 0.28 0.25 0.18 0.38 0.40 0.25 0.18 0.18 0.26 0.20
    0.17 0.17 0.17 0.22 0.22 0.28 0.22 0.25 0.30 0.31 0.26 0.39 0.42 0.13 0.20 0.19 0.21 0.26 0.21 0.20 0.35 0.26
    0.35 0.36 0.26 0.25 0.27 0.25 0.23 0.32 0.43 0.12 0.19 0.18 0.21 0.24 0.25 0.23 0.38 0.24 0.25 0.23 0.26 0.26
    0.27 0.26 0.27 0.27 0.27 0.28 0.22 0.17 0.24 0.25 0.29 0.34 0.33 0.31 0.25 0.22 0.22 0.25 0.25 0.25 0.25 0.25
    0.39 0.25 0.28 0.19 0.24 0.28 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25
    0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25
    """.split()
)
"""Mean atomic fraction of each element in compounds that contain it; `TYPICAL_FRACTIONS[z - 1]` is element z's.

Source: the 90,476 training materials of the shipped `materials_project.parquet`; 0.25 for elements in none.
"""
