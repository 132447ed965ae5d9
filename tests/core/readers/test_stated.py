"""What a header, a title or a unit states decides: it is read right, or refused with the true reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pattern_files import ANGLES, COUNTS, refused

from xxact_core.patterns.conversions import CU_K_ALPHA, two_theta_to_d, two_theta_to_q
from xxact_core.readers.read import join_scans, read_pattern, read_scans

CU = 1.5406
Q = two_theta_to_q(ANGLES, wavelength=CU)
D = two_theta_to_d(ANGLES, wavelength=CU)


def table(*columns: np.ndarray, header: str = "", separator: str = " ", digits: int = 9) -> bytes:
    """A text of columns; whole numbers are written without decimals."""
    texts = [
        [
            f"{value:d}" if column.dtype.kind == "i" else "nan" if np.isnan(value) else f"{value:.{digits}f}"
            for value in column
        ]
        for column in map(np.asarray, columns)
    ]
    return (header + "".join(separator.join(row) + "\n" for row in zip(*texts, strict=True))).encode()


# ---------------------------------------------------------------------------------------------------------- wavelengths
@pytest.mark.parametrize(
    "header",
    [
        "# Wavelength: 1.5406e-10 m",
        "# Wavelength: 1.540600E-10",
        "# wavelength (m): 1.5406e-10",
        '# "wavelength": 1.5406e-10,',
        "# wavelength (nm) = 0.15406",
        "# wavelength [nm]: 0.15406",
        "# wavelength/nm 0.15406",
        "# lambda = 0.15406 nm",
        "# lambda=0,15406 nm",
        "# Wavelength in nanometers: 0.15406",
        "# Wavelength (Å): 1.5406",
        "# Wavelength [Angstrom]\t1.5406",
        "# WAVELENGTH = 1.5406 ANGSTROMS",
        "# wavelength 154.06 pm",
        "# wavelength (pm): 154.06",
        "# λ = 1.5406 Å",
        "# Wellenlänge: 1,5406",
        "Wavelength,1.5406,",
        "# wave length;1.5406",
        "# Energy: 8.0478 keV",
        "# Photon energy (eV): 8047.8",
        "# beam energy = 8047.8 eV",
        "# Generator 40 kV 40 mA; wavelength 1.5406",
        "# points 1401\n# step 0.05\n# Wavelength 1.5406",
        "# wavelength 1.5374 kX",
        "# Wavelength(m) 1.5406 x 10^-10",
        "# Wavelength: 1.5406×10⁻¹⁰ m",
        "# wavelength 1.5406*10^(-10) m",
        "# Energy 8.0478 keV",
        "# wavelength 1.5406, sample Si",
    ],
)
def test_wavelengths_are_read_with_their_units(header: str) -> None:
    pattern = read_pattern(table(ANGLES, COUNTS, header=header + "\n"))
    assert pattern.wavelength == pytest.approx(CU, abs=2e-4)
    assert pattern.two_theta.size == 200


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("# wavelength 0.15406", "has no unit and would be that of an anode in nm"),
        ("# wavelength 0.07093", "no unit"),
        ("# wavelength 154.06", "no unit and is not one in Å"),
        ("# wavelength (nm): 1.5406 Å", "two units"),
        ("# wavelength 12 nm", "outside"),
        ("# wavelength 1.5406\n# wavelength 0.7093", "several wavelengths"),
    ],
)
def test_doubtful_wavelengths_are_not_read_but_noted(header: str, words: str) -> None:
    pattern = read_pattern(table(ANGLES, COUNTS, header=header + "\n"))
    assert pattern.wavelength is None
    assert any(words in note for note in pattern.warnings)


@pytest.mark.parametrize(
    "header",
    [
        "# tube voltage 40 kV",
        "# Detector threshold energy 4 keV",
        "# energy window: 8.05 keV",
        "# PHD lower level = 5.63 (keV)",
        "# lambda 2",
        "# wavelength: unknown",
    ],
)
def test_other_energies_and_numbers_are_no_wavelength(header: str) -> None:
    pattern = read_pattern(table(ANGLES, COUNTS, header=header + "\n"))
    assert pattern.wavelength is None
    assert not pattern.warnings


def test_two_wavelengths_of_a_doublet_give_their_mean() -> None:
    pattern = read_pattern(table(ANGLES, COUNTS, header="# Wavelength: 1.54060, 1.54443\n"))
    assert pattern.wavelength == pytest.approx((2 * 1.5406 + 1.54443) / 3)
    blank = read_pattern(table(ANGLES, COUNTS, header="# Wavelength 1.54060 1.54443 0.5\n"))
    assert blank.wavelength == pytest.approx(pattern.wavelength)
    other = read_pattern(table(ANGLES, COUNTS, header="# Wavelength 1.54060 20.0 80.0\n"))
    assert other.wavelength == 1.5406
    numbered = read_pattern(table(ANGLES, COUNTS, header="# Wavelength 1: 1.54060\n# Wavelength 2: 1.54443\n"))
    assert numbered.wavelength == pytest.approx(pattern.wavelength)
    repeated = read_pattern(table(ANGLES, COUNTS, header="# wavelength 1.54060\n# lambda = 0.15406 nm\n"))
    assert repeated.wavelength == pytest.approx(1.5406)
    only_first = read_pattern(table(ANGLES, COUNTS, header="# ratio K-Alpha2/K-Alpha1: 0.5\n# K-Alpha1: 1.54060\n"))
    assert only_first.wavelength == 1.5406


@given(st.floats(0.11, 4.9), st.sampled_from([("Å", 1), ("nm", 0.1), ("pm", 100), ("m", 1e-10)]), st.booleans())
def test_any_wavelength_in_any_unit_is_that_wavelength(value: float, unit: tuple[str, float], before: bool) -> None:
    number = f"{value * unit[1]:.6e}"
    header = f"# wavelength ({unit[0]}): {number}\n" if before else f"# wavelength: {number} {unit[0]}\n"
    assert read_pattern(table(ANGLES, COUNTS, header=header)).wavelength == pytest.approx(value, rel=1e-5)


# ----------------------------------------------------------------------------------------------------------------- axes
@pytest.mark.parametrize(
    ("title", "factor"),
    [
        ("q_A^-1", 1),
        ("q_nm^-1", 10),
        ("Q ($\\AA^{-1}$)", 1),
        ("Q (Inverse Nanometres)", 10),
        ("Q (Inverse Angstroms)", 1),
        ("q [1/Å]", 1),
        ("q/Å-1", 1),
        ("q (1/nm)", 10),
        ("q [nm⁻¹]", 10),
        ("q (1/nanometer)", 10),
        ("Q(A-1)", 1),
        ("scattering vector (1/Ang)", 1),
        ("momentum transfer [1/nm]", 10),
        ("q (1/m)", 1e10),
        ("1/d (1/Å)", 1 / (2 * math.pi)),
        ("1/d [nm^-1]", 10 / (2 * math.pi)),
        ("d* (1/A)", 1 / (2 * math.pi)),
        ("sin(theta)/lambda (1/Å)", 1 / (4 * math.pi)),
        ("2sin(theta)/lambda (1/nm)", 10 / (2 * math.pi)),
        ("4 pi sin(theta)/lambda (1/Å)", 1),
    ],
)
def test_reciprocal_axes_are_read_with_their_units(title: str, factor: float) -> None:
    data = table(Q * factor, COUNTS, header=f"# wavelength 1.5406\n{title}\tcounts\n", separator="\t")
    pattern = read_pattern(data)
    np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-4)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)


@pytest.mark.parametrize(("title", "factor"), [("d (Å)", 1), ("d (nm)", 0.1), ("d-spacing [pm]", 100), ("d value", 1)])
def test_spacings_are_read_with_their_units(title: str, factor: float) -> None:
    data = table(D * factor, COUNTS, header=f"# wavelength 1.5406\n{title}\tcounts\n", separator="\t")
    np.testing.assert_allclose(read_pattern(data).two_theta, ANGLES, atol=1e-4)


@pytest.mark.parametrize(
    ("title", "factor"),
    [
        ("2th_rad", math.pi / 180),
        ("2theta (radians)", math.pi / 180),
        ("two theta [mrad]", math.pi / 0.18),
        ("2theta [centideg]", 100),
        ("2θ (°)", 1),
        ("2-Theta Angle (Degrees)", 1),
        ("2th_deg", 1),
        ("TTH", 1),
        ("Position [°2Th.]", 1),
        ("Angle [rad]", math.pi / 180),
        ("x (mrad)", math.pi / 0.18),
    ],
)
def test_angles_are_read_with_their_units(title: str, factor: float) -> None:
    data = table(ANGLES * factor, COUNTS, header=f"{title}\tcounts\n", separator="\t")
    np.testing.assert_allclose(read_pattern(data).two_theta, ANGLES, atol=1e-5)


def test_a_radius_is_an_angle_where_the_distance_is_stated() -> None:
    radius = 200 * np.tan(np.deg2rad(ANGLES))
    for header in (
        "# Distance Sample to Detector: 0.2 m\n#  r_mm   I\n",
        "# distance (mm) = 200\n#  Radius (mm)   I\n",
    ):
        np.testing.assert_allclose(read_pattern(table(radius, COUNTS, header=header)).two_theta, ANGLES, atol=1e-5)
    refused(
        table(radius, COUNTS, header="#  r_mm   I\n"), "E_AXIS", "a radius .* distance of the detector is not stated"
    )
    refused(table(radius, COUNTS, header="# distance 200\n#  r_mm   I\n"), "E_AXIS", "distance has no unit")


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("q", "q without a unit"),
        ("1/d", "1/d without a unit"),
        ("s (1/nm)", "1/d or 4π"),
        ("s", "1/d or 4π"),
        ("r(Å)", "pair distribution"),
        ("chi_deg", "another angle"),
        ("Azimuth (deg)", "another angle"),
        ("omega", "another angle"),
        ("time (s)", "a time"),
        ("Temperature (K)", "a temperature"),
        ("Raman shift (cm-1)", "a wavenumber"),
        ("Energy (keV)", "an energy"),
        ("Wavelength (nm)", "a wavelength"),
        ("TOF (us)", "time of flight"),
        ("channel", "channels"),
        ("sin2theta", "a function of the angle"),
        ("index", "a number of points"),
        ("1/d^2 (1/A^2)", "a power, root or logarithm"),
        ("q² (1/nm²)", "a power, root or logarithm"),
        ("d^2 (Å2)", "a power, root or logarithm"),
        ("ln(2theta)", "a power, root or logarithm"),
        ("log10 q", "a power, root or logarithm"),
        ("k (1/Å)", "in a unit that is none of an angle"),
        ("G [nm^-1]", "in a unit that is none of an angle"),
        ("x [mm]", "in a unit that is none of an angle"),
        ("Position (pixel)", "in a unit that is none of an angle"),
    ],
)
def test_other_axes_are_refused_by_name(title: str, words: str) -> None:
    refused(table(ANGLES, COUNTS, header=f"{title}\tcounts\n", separator="\t"), "E_AXIS", words)


@pytest.mark.parametrize("titles", ["r G(r)", "Q F(Q)", "q(1/A) S(q)", "#L r($\\AA$)  G($\\AA^{-2}$)", "r g(r) dr"])
def test_functions_of_total_scattering_are_refused(titles: str) -> None:
    refused(
        table(ANGLES, COUNTS, *([COUNTS] if "dr" in titles else []), header=titles + "\n"),
        "E_AXIS",
        "G\\(r|scattering|pair",
    )


@pytest.mark.parametrize("suffix", ["gr", "fq", "sq"])
def test_functions_without_titles_are_refused_by_their_file_name(suffix: str) -> None:
    refused(table(ANGLES, COUNTS), "E_AXIS", "total scattering", name=f"ni.{suffix}")


def test_a_line_of_units_belongs_to_the_titles() -> None:
    for head, values in (
        ("Angle,Intensity\n[rad],[cts]\n", np.deg2rad(ANGLES)),
        ("2theta,I\nmrad,counts\n", 1000 * np.deg2rad(ANGLES)),
    ):
        pattern = read_pattern(table(values, COUNTS, header=head, separator=","))
        np.testing.assert_allclose(pattern.two_theta, ANGLES, atol=1e-5)
        assert any("were converted to degrees" in note for note in pattern.warnings)


def test_japanese_titles_do_not_exchange_the_columns() -> None:
    data = "角度,強度\n".encode("shift_jis") + table(ANGLES, COUNTS, separator=",")
    np.testing.assert_allclose(read_pattern(data).two_theta, ANGLES)


# -------------------------------------------------------------------------------------------------------------- columns
@pytest.mark.parametrize(
    ("titles", "column"),
    [
        ("2theta norm yobs ycalc bkg", 2),
        ("2theta Ycal Yobs Yobs-Ycal Backg", 2),
        ("Angle TimePerStep Intensity ESD flag", 2),
        ("index 2theta counts sigma note", 2),
        ("2Theta weight I_obs I_calc diff", 2),
        ("tth bkg intensity error mask", 2),
        ("2theta d q counts esd", 3),
        ("x y_fit y_data residual e", 2),
        ("2theta smoothed raw a b", 2),
    ],
)
def test_titles_say_which_column_is_measured(titles: str, column: int) -> None:
    words = titles.split()
    angle = next(index for index, word in enumerate(words) if word.lower().startswith(("2th", "tth", "angle", "x")))
    others = np.full(200, 7)
    columns = [ANGLES if index == angle else COUNTS if index == column else others for index in range(5)]
    columns = [D if word == "d" else Q if word == "q" else values for word, values in zip(words, columns, strict=True)]
    pattern = read_pattern(table(*columns, header=titles + "\n"))
    np.testing.assert_allclose(pattern.two_theta, ANGLES)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert pattern.metadata["scans"] == "1"


@pytest.mark.parametrize(
    "titles", ["2theta,300K,400K,500K", "2theta,I(300K),I(400K),I(500K)", "q (1/A),a,b,c", "tth,int 1,int 2,int 3"]
)
def test_several_intensities_are_scans(titles: str) -> None:
    x = Q if titles.startswith("q") else ANGLES
    data = table(x, COUNTS, 2 * COUNTS, 3 * COUNTS, header=f"wavelength 1.5406\n{titles}\n", separator=",")
    scans = read_scans(data)
    assert len(scans) == 3
    for number, scan in enumerate(scans, 1):
        np.testing.assert_allclose(scan.two_theta, ANGLES, atol=1e-4)
        np.testing.assert_array_equal(scan.intensity, number * COUNTS)
    assert any("holds 3 scans" in note for note in read_pattern(data).warnings)
    assert scans[1].metadata["column"] in titles.lower()


@pytest.mark.parametrize(
    "title",
    [
        "I*q^2", "q*I", "Iq^2", "I(q) * q", "I/LP", "I*sin(theta)", "counts^2", "1/I", "asinh(I)", "Kratky",
        "cumulative counts",
    ],
)  # fmt: skip
def test_functions_of_the_intensity_are_refused_unless_it_is_there_itself(title: str) -> None:
    refused(
        table(ANGLES, COUNTS, header=f"2theta,{title}\n", separator=","), "E_FORMAT", "is a function of the intensity"
    )
    both = read_pattern(table(ANGLES, 7 * COUNTS, COUNTS, header=f"2theta,{title},intensity\n", separator=","))
    np.testing.assert_array_equal(both.intensity, COUNTS)


@pytest.mark.parametrize("title", ["difference", "Yobs-Ycalc", "background", "esd", "sigma", "Intensity_error", "dI"])
def test_what_is_no_measured_intensity_is_refused(title: str) -> None:
    data = table(ANGLES, COUNTS, header=f"2theta,{title}\n", separator=",")
    refused(data, "E_FORMAT", "is no measured intensity")


def test_calculated_intensities_are_noted() -> None:
    pattern = read_pattern(table(ANGLES, COUNTS, header="2theta,Ycalc\n", separator=","))
    assert "the intensities are calculated ones (ycalc)" in pattern.warnings
    for title in ("Sigma-Aldrich ZnO", "I - bkg", "I/I0", "I(2theta)", "fitness test"):
        plain = read_pattern(table(ANGLES, COUNTS, header=f"2theta,{title}\n", separator=","))
        assert not any("calculated" in note for note in plain.warnings)


def test_pairs_of_columns_named_by_sample_are_scans() -> None:
    titles = "sample A 2theta,sample A I,sample B 2theta,sample B I\n"
    scans = read_scans(table(ANGLES, COUNTS, ANGLES + 0.5, 2 * COUNTS, header=titles, separator=","))
    assert len(scans) == 2
    np.testing.assert_allclose(scans[1].two_theta, ANGLES + 0.5)
    np.testing.assert_array_equal(scans[1].intensity, 2 * COUNTS)


def test_pairs_of_columns_of_unequal_length_are_scans() -> None:
    rows = [f"{angle:.2f},{count},{angle + 5:.2f},{2 * count}" for angle, count in zip(ANGLES, COUNTS, strict=True)]
    rows[150:] = [row.rsplit(",", 2)[0] + ",," for row in rows[150:]]
    first, second = read_scans(("2theta A,I A,2theta B,I B\n" + "\n".join(rows) + "\n").encode())
    np.testing.assert_allclose(first.two_theta, ANGLES)
    np.testing.assert_allclose(second.two_theta, ANGLES[:150] + 5)
    np.testing.assert_array_equal(second.intensity, 2 * COUNTS[:150])


def test_columns_without_titles_are_noted_unless_they_are_uncertainties() -> None:
    assert not read_pattern(table(ANGLES, COUNTS, np.sqrt(COUNTS))).warnings
    noted = read_pattern(table(ANGLES, COUNTS, 3 * COUNTS)).warnings
    assert any("1 further columns without titles" in note for note in noted)


def test_a_column_of_names_parts_the_patterns() -> None:
    rows = "".join(
        f'"{name}",{angle},{spacing:.6f},{factor * count},\n'
        for name, factor in (("a, b.xy", 1), ("c.xy", 2))
        for angle, spacing, count in zip(ANGLES, D, COUNTS, strict=True)
    )
    scans = read_scans(f"pattern,two_theta,d,intensity,background\n{rows}".encode())
    assert [scan.metadata["sample"] for scan in scans] == ["a, b.xy", "c.xy"]
    for factor, scan in enumerate(scans, 1):
        np.testing.assert_array_equal(scan.intensity, factor * COUNTS)
        assert scan.wavelength == pytest.approx(CU, abs=1e-4)  # from 2θ and d


def test_positions_of_peaks_without_titles_of_their_indices_are_refused() -> None:
    angles = np.sort(np.random.default_rng(0).uniform(10, 80, 40))
    heights = np.arange(1, 41) % 7 + 1
    refused(table(angles, heights, header="2theta I\n"), "E_FORMAT", "a list of 40 peaks: the steps of its angles vary")
    silicon = [28.44, 47.3, 56.12, 69.13, 76.38, 88.03, 94.95, 106.7, 114.1, 127.5, 136.9]
    refused(table(np.array(silicon), np.arange(1, 12)), "E_FORMAT", "a list of 11 peaks")
    ranges = np.r_[np.arange(10, 20, 0.5), np.arange(20, 30, 0.1)]
    detector = 10 + 30 * np.linspace(0, 1, 200) ** 3
    for scan in (ranges, np.unique(np.round(detector, 3))):
        assert read_pattern(table(scan, np.arange(1, scan.size + 1))).two_theta.size == scan.size


def test_a_list_of_peaks_is_refused() -> None:
    refused(table(ANGLES, COUNTS, COUNTS, header="2theta,I,hkl\n", separator=","), "E_FORMAT", "list of peaks")


# --------------------------------------------------------------------------------------------------------- intensities
@pytest.mark.parametrize(
    ("title", "function"),
    [
        ("log10(I)", np.log10),
        ("log10 counts", np.log10),
        ("lg(intensity)", np.log10),
        ("ln(I)", np.log),
        ("sqrt(counts)", np.sqrt),
        ("Sqrt Intensity", np.sqrt),
        ("√I", np.sqrt),
    ],
)
def test_logarithms_and_roots_are_undone_with_a_note(title: str, function: np.ufunc) -> None:
    pattern = read_pattern(table(ANGLES, function(COUNTS), header=f"2theta\t{title}\n", separator="\t"))
    np.testing.assert_allclose(pattern.intensity, COUNTS, rtol=1e-6)
    assert any("the intensities" in note for note in pattern.warnings)


@pytest.mark.parametrize("title", ["log(I)", "Log Intensity", "log counts"])
def test_logarithms_of_unknown_base_are_refused(title: str) -> None:
    refused(table(ANGLES, np.log(COUNTS), header=f"2theta\t{title}\n", separator="\t"), "E_VALUES", "unknown base")


def test_a_counting_time_that_varies_divides_the_counts() -> None:
    times = np.where(ANGLES < 12, 1.0, 5.0)
    counts = (COUNTS * times).astype(int)
    pattern = read_pattern(table(ANGLES, times, counts, header="2theta time counts\n"))
    np.testing.assert_allclose(pattern.intensity, COUNTS)
    assert any("divided by the counting time" in note for note in pattern.warnings)
    rate = read_pattern(table(ANGLES, times, COUNTS, header="2theta time cps\n"))
    np.testing.assert_array_equal(rate.intensity, COUNTS)
    elapsed = read_pattern(table(ANGLES, np.arange(200.0), COUNTS, header="2theta time counts\n"))
    np.testing.assert_array_equal(elapsed.intensity, COUNTS)


def test_a_monitor_that_varies_divides_the_counts() -> None:
    monitor = 1000 + COUNTS % 7
    pattern = read_pattern(table(ANGLES, monitor, COUNTS * monitor, header="2theta monitor counts\n"))
    np.testing.assert_allclose(pattern.intensity, COUNTS * monitor.mean())


@pytest.mark.parametrize("gap", ["nan", "NaN", "1.#QNAN", "#N/A"])
def test_gaps_are_left_out_with_a_note(gap: str) -> None:
    rows = table(ANGLES, COUNTS).decode().split("\n")
    rows[50:60] = [f"{row.split()[0]} {gap}" for row in rows[50:60]]
    pattern = read_pattern("\n".join(rows).encode())
    assert pattern.two_theta.size == 190
    assert any("10 points without an intensity" in note for note in pattern.warnings)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_blank_rows_of_spreadsheets_are_skipped(separator: str) -> None:
    data = table(ANGLES, COUNTS, header=f"2theta{separator}I\n", separator=separator)
    blank = separator.encode() + b"\n"
    np.testing.assert_array_equal(read_pattern(data + 3 * blank).intensity, COUNTS)
    lines = data.split(b"\n")
    np.testing.assert_array_equal(
        read_pattern(b"\n".join([*lines[:50], separator.encode(), *lines[50:]])).intensity, COUNTS
    )


@pytest.mark.parametrize("value", ["1.034", "12.500", "1,034"])
def test_whole_numbers_beside_numbers_of_three_decimals_are_refused(value: str) -> None:
    rows = [
        f"{angle:.2f};{count}".replace(".", "," if "." in value else ".")
        for angle, count in zip(ANGLES, COUNTS, strict=True)
    ]
    rows[100] = f"{rows[100].split(';')[0]};{value}"
    refused(("\n".join(rows) + "\n").encode(), "E_VALUES", "two ways")


# --------------------------------------------------------------------------------------------------------------- angles
@pytest.mark.parametrize(("step", "digits"), [(0.0066, 2), (0.0131, 2), (0.0167113, 2), (0.013, 2), (0.0006, 3)])
def test_rounded_angles_are_spread_evenly_with_a_note(step: float, digits: int) -> None:
    angles = 10 + step * np.arange(3000)
    pattern = read_pattern(table(np.round(angles, digits), np.arange(3000) + 1, digits=digits))
    np.testing.assert_allclose(pattern.two_theta, angles, atol=0.3 * 10.0**-digits)
    assert pattern.two_theta.size == 3000
    assert any("rounded" in note for note in pattern.warnings)


def test_even_angles_and_uneven_ones_stay_as_they_are() -> None:
    assert not read_pattern(table(ANGLES, COUNTS, digits=2)).warnings
    uneven = np.concatenate([10 + 0.02 * np.arange(100), 12.5 + 0.03 * np.arange(100)])
    np.testing.assert_allclose(read_pattern(table(uneven, COUNTS)).two_theta, uneven)


@pytest.mark.parametrize("between", ["# range 2\n", "\n", '\'Id: "b" Anode: "Cu"\n', "2theta I\n"])
def test_ranges_are_scans_and_join_to_one(between: str) -> None:
    first, second = table(ANGLES + 4, COUNTS), table(ANGLES, COUNTS)
    data = b"2theta I\n" + first + between.encode() + second
    scans = read_scans(data)
    assert [scan.two_theta[0] for scan in scans] == [14, 10]
    joined = read_pattern(data, scan="join")
    np.testing.assert_allclose(joined.two_theta, np.concatenate([ANGLES, ANGLES + 4]))
    np.testing.assert_array_equal(joined.intensity, np.tile(COUNTS, 2))
    assert "2 ranges joined" in joined.warnings


def test_ranges_that_overlap_are_averaged_or_refused() -> None:
    low, high = table(ANGLES, COUNTS), table(ANGLES + 2, np.concatenate([COUNTS[100:] + 2, COUNTS[:100] + 200]))
    joined = read_pattern(low + b"#\n" + high, scan="join")
    assert joined.two_theta.size == 300
    np.testing.assert_allclose(joined.intensity[100:200], COUNTS[100:] + 1)
    assert any("100 points that two ranges share" in note for note in joined.warnings)
    refused_for = {"other angles": table(ANGLES + 2.007, COUNTS), "times the intensity": table(ANGLES + 2, 10 * COUNTS)}
    for words, other in refused_for.items():
        scans = read_scans(low + b"#\n" + other)
        with pytest.raises(ValueError, match=words):
            join_scans(scans)


def test_rows_out_of_order_are_no_ranges() -> None:
    rows = table(ANGLES, COUNTS).split(b"\n")
    rows[100], rows[101] = rows[101], rows[100]
    refused(b"\n".join(rows), "E_AXIS", "only increase")


# --------------------------------------------------------------------------------------------------- declared numbers
@pytest.mark.parametrize(
    "header",
    [
        "title\n2-Theta Angle (Degrees)\nIntensity\n {count}\n",
        "title\n2-Theta Angle (Degrees)\nIntensity\n {count} 1\n",
        "# Number of points: {count}\n",
        "# points: {count}\n",
        "# npts = {count}\n",
        "# No. of points = {count}\n",
        "npoints,{count}\n",
        "# data points; {count}\n",
    ],
)
def test_the_stated_number_of_points_is_held_against_the_rows(header: str) -> None:
    assert read_pattern(table(ANGLES, COUNTS, header=header.format(count=200))).two_theta.size == 200
    refused(table(ANGLES, COUNTS, header=header.format(count=210)), "E_TRUNCATED", "200 rows, its header says 210")
    refused(table(ANGLES, COUNTS, header=header.format(count=190)), "E_FORMAT", "200 rows, its header says 190")


# ------------------------------------------------------------------------------------------------------------ radiation
@pytest.mark.parametrize(
    "header",
    [
        "# Sample: LaB6 11B, spare of the neutron run; Anode: Cu; wavelength 1.5406\n",
        "# neutron absorber, x-ray scan\n",
        "# Cu Kα1, sample from the neutron group\n",
    ],
)
def test_the_word_neutron_does_not_make_an_xray_scan_one_of_neutrons(header: str) -> None:
    pattern = read_pattern(table(ANGLES, COUNTS, header=header))
    assert any("names an x-ray source" in note for note in pattern.warnings)


@pytest.mark.parametrize(
    "header",
    ["# HRPT neutron powder diffractometer\n", "# radiation: neutron, target: Cu\n", "# D2B neutrons 1.594 A\n"],
)
def test_neutrons_stay_refused(header: str) -> None:
    refused(table(ANGLES, COUNTS, header=header), "E_RADIATION", "neutrons")


# ---------------------------------------------------------------------------------------------------------- round trips
@given(
    separator=st.sampled_from([" ", "\t", ";", ",", "  "]),
    digits=st.integers(2, 6),
    start=st.integers(3, 60),
    step=st.sampled_from([0.01, 0.02, 0.05, 0.1]),
    values=st.lists(st.integers(0, 99_999), min_size=20, max_size=60).filter(any),
    titles=st.booleans(),
    comma=st.booleans(),
    blank=st.booleans(),
)
def test_what_is_written_is_read(
    *,
    separator: str,
    digits: int,
    start: int,
    step: float,
    values: list[int],
    titles: bool,
    comma: bool,
    blank: bool,
) -> None:
    angles = np.round(start + step * np.arange(len(values)), 2)
    rows = [f"{angle:.{digits}f}{separator}{value}" for angle, value in zip(angles, values, strict=True)]
    text = "\n".join(rows) + "\n" * (1 + 5 * blank)
    if comma and separator != ",":
        text = text.replace(".", ",")
    header = f"2theta{separator}counts\n" if titles else ""
    pattern = read_pattern((header + text).encode())
    np.testing.assert_allclose(pattern.two_theta, angles)
    np.testing.assert_array_equal(pattern.intensity, values)


def test_no_wavelength_is_assumed_for_angles_and_copper_for_q() -> None:
    assert read_pattern(table(ANGLES, COUNTS, header="2theta\tI\n", separator="\t")).wavelength is None
    assert read_pattern(table(Q, COUNTS, header="q (1/A)\tI\n", separator="\t")).wavelength == CU_K_ALPHA


@pytest.mark.parametrize(
    "title", ["q (10^-1 nm)", "q (10 nm^-1)", "d (10^-10 m)", "q [1/(10 nm)]", "1/d (10^9 m^-1)", "q (1/nm x 10)"]
)
def test_a_unit_with_a_power_of_ten_is_refused(title: str) -> None:
    rows = "".join(f"{1 + index / 50:.4f}\t{100 + index % 9}\n" for index in range(100))
    refused(f"{title}\tintensity\n{rows}".encode(), "E_AXIS", "power of ten", name="a.txt")


def test_a_wavelength_in_centimetres_is_read() -> None:
    rows = "".join(f"{10 + index / 50:.4f} {100 + index % 9}\n" for index in range(100))
    pattern = read_pattern(f"# lambda = 1.5406e-8 cm\n{rows}".encode(), name="a.xy")
    assert pattern.wavelength == pytest.approx(1.5406)


def test_comments_between_the_rows_are_noted() -> None:
    rows = [f"{10 + index / 50:.4f} {100 + index % 9}\n" for index in range(100)]
    told = read_pattern("".join([*rows[:50], "# range 2: 5 s/step\n", *rows[50:]]).encode(), name="a.xy")
    assert any("range 2: 5 s/step" in note for note in told.warnings)
    plain = read_pattern("".join(["# Si\n", *rows[:50], "#\n", *rows[50:], "# end\n"]).encode(), name="a.xy")
    assert not any("comment" in note for note in plain.warnings)


@pytest.mark.parametrize("titles", ["x(mm),y(mm),2theta,I", "X,Y,2theta,counts", "sample_x,sample_y,2theta,intensity"])
def test_a_map_over_places_is_refused_by_name(titles: str) -> None:
    rows = "".join(f"{index // 100},{index // 200},{20 + index % 100 / 10},{50 + index % 7}\n" for index in range(400))
    refused(f"{titles}\n{rows}".encode(), "E_FORMAT", "a map over the places", name="a.csv")


@pytest.mark.parametrize("title", ["Transmission", "absorbance", "Transmittance (%)", "reflectivity"])
def test_columns_that_are_no_diffracted_intensities_are_refused(title: str) -> None:
    rows = "".join(f"{10 + index / 50:.4f},{100 + index % 9}\n" for index in range(100))
    refused(f"2theta,{title}\n{rows}".encode(), "E_FORMAT", "no diffracted intensity", name="a.csv")


def test_a_length_far_from_the_line_of_the_named_anode_is_not_its_wavelength() -> None:
    rows = "".join(f"{10 + index / 50:.4f} {100 + index % 9}\n" for index in range(100))
    doubtful = read_pattern(f"# 2theta at Mo Ka1 equivalent (measured 0.2072 A), I\n{rows}".encode(), name="a.xy")
    assert doubtful.wavelength is None
    assert any("names Mo Kα and states 0.2072 Å" in note for note in doubtful.warnings)
    stated = read_pattern(f"# Mo Ka1 0.70932 A\n{rows}".encode(), name="a.xy")
    assert stated.wavelength == pytest.approx(0.70932)
