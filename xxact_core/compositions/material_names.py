"""Names and abbreviations of materials that are typed as formulas, and what to write instead."""

from __future__ import annotations

_NAMES = """
quartz SiO2; silica SiO2; cristobalite SiO2; tridymite SiO2; sand SiO2; glass SiO2 (or its oxides); corundum Al2O3;
alumina Al2O3; sapphire Al2O3; ruby Al2O3 ?Cr; boehmite AlOOH; gibbsite Al(OH)3; calcite CaCO3; aragonite CaCO3;
vaterite CaCO3; chalk CaCO3; limestone CaCO3; dolomite CaMg(CO3)2; magnesite MgCO3; siderite FeCO3; hematite Fe2O3;
haematite Fe2O3; maghemite Fe2O3; magnetite Fe3O4; goethite FeOOH; wustite FeO; rust FeOOH; pyrite FeS2; marcasite
FeS2; pyrrhotite Fe7S8; troilite FeS; chalcopyrite CuFeS2; galena PbS; sphalerite ZnS; wurtzite ZnS; zincblende ZnS;
cinnabar HgS; rutile TiO2; anatase TiO2; brookite TiO2; titania TiO2; ilmenite FeTiO3; perovskite CaTiO3; zirconia
ZrO2; baddeleyite ZrO2; hafnia HfO2; zircon ZrSiO4; ceria CeO2; yttria Y2O3; magnesia MgO; periclase MgO; lime CaO;
quicklime CaO; portlandite Ca(OH)2; brucite Mg(OH)2; halite NaCl; salt NaCl; sylvite KCl; fluorite CaF2; gypsum
CaSO4·2H2O; anhydrite CaSO4; bassanite CaSO4·0.5H2O; barite BaSO4; baryte BaSO4; celestine SrSO4; apatite
Ca5(PO4)3(OH,F); hydroxyapatite Ca5(PO4)3OH; fluorapatite Ca5(PO4)3F; kaolinite Al2Si2O5(OH)4; talc Mg3Si4O10(OH)2;
muscovite KAl3Si3O10(OH)2; albite NaAlSi3O8; anorthite CaAl2Si2O8; orthoclase KAlSi3O8; microcline KAlSi3O8;
forsterite Mg2SiO4; fayalite Fe2SiO4; olivine (Mg,Fe)2SiO4; enstatite MgSiO3; diopside CaMgSi2O6; mullite
3Al2O3·2SiO2; spinel MgAl2O4; chromite FeCr2O4; malachite Cu2CO3(OH)2; azurite Cu3(CO3)2(OH)2; cuprite Cu2O; tenorite
CuO; cassiterite SnO2; zincite ZnO; graphite C; diamond C; graphene C; water H2O; ice H2O; cementite Fe3C; carborundum
SiC; rocksalt NaCl; bismuthinite Bi2S3; scheelite CaWO4; molybdenite MoS2; steel Fe ?C; brass Cu,Zn; bronze Cu,Sn;
nitinol NiTi; permalloy Ni,Fe; ettringite Ca6Al2(SO4)3(OH)12·26H2O
"""
"""Minerals and common substances; found in any case. Source: IMA formulas of end members."""

_ABBREVIATIONS = """
YAG Y3Al5O12; LuAG Lu3Al5O12; GAGG Gd3Al2Ga3O12; GGG Gd3Ga5O12; YIG Y3Fe5O12; YBCO YBa2Cu3O7; BSCCO Bi2Sr2CaCu2O8;
LSCO La1.85Sr0.15CuO4; LSMO La0.7Sr0.3MnO3; LCMO La0.7Ca0.3MnO3; BFO BiFeO3; BTO BaTiO3; STO SrTiO3; PTO PbTiO3; PZT
Pb(Zr,Ti)O3; PMN PbMg0.333Nb0.667O3; LNO LiNbO3, LaNiO3 or LiNiO2; KNN K0.5Na0.5NbO3; NBT Na0.5Bi0.5TiO3; CCTO
CaCu3Ti4O12; CFO CoFe2O4; NFO NiFe2O4; ZFO ZnFe2O4; LAO LaAlO3; LCO LiCoO2; LFP LiFePO4; LMO LiMn2O4; LTO Li4Ti5O12;
NCM Li,Ni,Co,Mn,O; NMC Li,Ni,Mn,Co,O; NMC811 LiNi0.8Mn0.1Co0.1O2; NMC622 LiNi0.6Mn0.2Co0.2O2; NMC532
LiNi0.5Mn0.3Co0.2O2; NMC111 LiNi0.333Mn0.333Co0.333O2; NCA Li,Ni,Co,Al,O; LLZO Li7La3Zr2O12; LGPS Li10GeP2S12; LATP
Li1.3Al0.3Ti1.7(PO4)3; ITO In2O3 ?Sn; FTO SnO2 ?F; AZO ZnO ?Al; IGZO InGaZnO4; YSZ Zr,Y,O; GDC Ce,Gd,O; BSCF
Ba0.5Sr0.5Co0.8Fe0.2O3; BZT Ba(Zr,Ti)O3; BST (Ba,Sr)TiO3; BBO BaB2O4; LBO LiB3O5; KDP KH2PO4; ADP NH4H2PO4; KTP
KTiOPO4; BGO Bi4Ge3O12; LSO Lu2SiO5; KBBF KBe2BO3F2; SBN (Sr,Ba)Nb2O6; CZTS Cu2ZnSnS4; CIGS Cu(In,Ga)Se2; CIS CuInSe2;
C3S Ca3SiO5; C2S Ca2SiO4; C3A Ca3Al2O6; C4AF Ca4Al2Fe2O10; C12A7 Ca12Al14O33; 3YSZ Zr,Y,O; 8YSZ Zr,Y,O; NASICON
Na3Zr2Si2PO12; 304L Fe,Cr,Ni; 316L Fe,Cr,Ni,Mo; MOF-5 Zn4O(C8H4O4)3; UiO-66 Zr6O4(OH)4(C8H4O4)6;
GST-225 Ge2Sb2Te5; DLC C ?H; CASN CaAlSiN3; BAM BaMgAl10O17; 10GDC Ce,Gd,O; 20GDC Ce,Gd,O;
ZIF-8 Zn(C4H5N2)2; HKUST-1 Cu3(C9H3O6)2; PTFE C2F4;
MAPI CH3NH3PbI3; MAPbI3 CH3NH3PbI3; FAPbI3 CH5N2PbI3; HAP Ca5(PO4)3OH; TCP Ca3(PO4)2; CNT C; PBN BN; CBN BN; HBN BN
"""
"""Abbreviations, many of which would read as formulas. Ours: what laboratories type most often."""

_ALLOYS = """
Ti6Al4V Ti-6Al-4V Ti6Al4V1
TiAl6V4 Ti-6Al-4V Ti1Al6V4
Ti6Al7Nb Ti-6Al-7Nb Ti6Al7Nb1
AlSi10Mg Al-10Si-0.3Mg Al1Si10Mg
AlSi7Mg Al-7Si-0.3Mg Al1Si7Mg
AlSi12 Al-12Si Al1Si12
CuZn37 Cu-37Zn Cu1Zn37
CuZn30 Cu-30Zn Cu1Zn30
CuZn40 Cu-40Zn Cu1Zn40
CuZn39Pb3 Cu-39Zn-3Pb Cu1Zn39Pb3
CuSn8 Cu-8Sn Cu1Sn8
CuSn10 Cu-10Sn Cu1Sn10
CuNi44 Cu-44Ni Cu1Ni44
CuNi30 Cu-30Ni Cu1Ni30
NiCr20 Ni-20Cr Ni1Cr20
NiCr15Fe8 Ni-15Cr-8Fe Ni1Cr15Fe8
FeCr18Ni10 Fe-18Cr-10Ni Fe1Cr18Ni10
FeNi36 Fe-36Ni Fe1Ni36
FeNi42 Fe-42Ni Fe1Ni42
FeSi3 Fe-3Si Fe1Si3
CuZn10 Cu-10Zn Cu1Zn10
CuZn15 Cu-15Zn Cu1Zn15
CuZn36 Cu-36Zn Cu1Zn36
CuSn6 Cu-6Sn Cu1Sn6
CuSn12 Cu-12Sn Cu1Sn12
CuNi10 Cu-10Ni Cu1Ni10
CuNi25 Cu-25Ni Cu1Ni25
CuNi18Zn20 Cu-18Ni-20Zn Cu1Ni18Zn20
CuAl10Ni5Fe4 Cu-10Al-5Ni-4Fe Cu1Al10Ni5Fe4
AlSi9Cu3 Al-9Si-3Cu Al1Si9Cu3
AlMg3 Al-3Mg Al1Mg3
AlMg5 Al-5Mg Al1Mg5
MgAl9Zn1 Mg-9Al-1Zn Mg1Al9Zn
MgAl3Zn1 Mg-3Al-1Zn Mg1Al3Zn
SnPb37 Sn-37Pb Sn1Pb37
SnAg3Cu0.5 Sn-3Ag-0.5Cu Sn1Ag3Cu0.5
"""
"""Grades by weight that would read as compounds: name, alloy in percent by weight, compound. Source: DIN names."""


def _pairs(text: str) -> dict[str, str]:
    pairs = (entry.split(maxsplit=1) for entry in text.replace("\n", " ").split(";"))
    return {name: formula.strip() for name, formula in pairs}


MATERIAL_NAMES: dict[str, str] = {
    **_pairs(_NAMES),
    **_pairs(_ABBREVIATIONS),
    **{
        name: f"{alloy} (weight percent), or {compound} for the compound"
        for name, alloy, compound in (line.split() for line in _ALLOYS.strip().splitlines())
    },
}
"""What to write instead of a name."""

LIGANDS: dict[str, str] = {
    "OAc": "CH3COO", "AcO": "CH3COO", "Ac": "CH3COO (acetate)", "acac": "C5H7O2", "OMe": "OCH3", "OEt": "OC2H5",
    "OPr": "OC3H7", "OiPr": "OC3H7", "OnPr": "OC3H7", "OBu": "OC4H9", "OtBu": "OC4H9", "Me": "CH3", "Et": "C2H5",
    "Ph": "C6H5", "Cp": "C5H5", "en": "C2H8N2", "py": "C5H5N", "bpy": "C10H8N2", "phen": "C12H8N2",
}  # fmt: skip
"""Abbreviations of groups in brackets, some of which are element symbols, and what to write instead."""
