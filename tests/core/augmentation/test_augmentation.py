"""What laboratories add has the right sign, size and symmetry, and can be saved and read back."""

from __future__ import annotations

import itertools
import json
import tomllib
from dataclasses import fields, replace

import numpy as np
import pytest
from texture_reference import equivalent_axes

from xxact_core.augmentation.config import EFFECTS, AugmentationConfig
from xxact_core.augmentation.effects import (
    Background,
    CountingNoise,
    InstrumentWidth,
    OtherRadiation,
    Strain,
    Texture,
    ZeroPointError,
)
from xxact_core.errors import RecipeError, WavelengthError
from xxact_core.peak_profiles.corrections import (
    displacement_shift,
    entries_to_metric,
    lorentz_polarisation,
    march_dollase_factor,
    strain_to_metric_change,
    thermal_factor,
)
from xxact_core.peak_profiles.shapes import check_caglioti
from xxact_core.simulation.lattice import cell_to_reciprocal_metric

IDENTITY = np.eye(3, dtype=np.int8)[None]


def cubic_rotations() -> np.ndarray:
    """The 24 rotations of m-3m modulo inversion: permutations with signs, determinant 1."""
    matrices = [
        np.diag(signs) @ np.eye(3, dtype=int)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    return np.array([matrix for matrix in matrices if round(np.linalg.det(matrix)) == 1], dtype=np.int8)


def hexagonal_rotations() -> np.ndarray:
    """The six turns about c, as they act on rows of Miller indices."""
    turn = np.array([[0, 1, 0], [-1, 1, 0], [0, 0, 1]])
    return np.array([np.linalg.matrix_power(turn, power) for power in range(6)], dtype=np.int8)


def metric_of(*cell: float) -> np.ndarray:
    return entries_to_metric(cell_to_reciprocal_metric(np.array(cell, dtype=np.float64)))


def random_strain(seed: int, spread: float = 0.01) -> np.ndarray:
    entries = np.random.default_rng(seed).normal(0, spread, (3, 3))
    return (entries + entries.T) / 2


def strained(metric: np.ndarray, strain: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    weights = np.full(len(rotations), 1 / len(rotations))
    return metric + strain_to_metric_change(np.linalg.cholesky(metric), strain, rotations, weights=weights)


def texture_factor(
    hkl: np.ndarray, axis: np.ndarray, rotations: np.ndarray, metric: np.ndarray, *, r: float
) -> np.ndarray:
    axes = equivalent_axes(axis, rotations)
    dots = hkl @ metric @ axes.T
    lengths = np.einsum("ni,ij,nj->n", hkl, metric, hkl)[:, None] * np.einsum("ni,ij,nj->n", axes, metric, axes)
    return march_dollase_factor(dots**2 / lengths, r=r).mean(axis=1)


def test_a_specimen_that_lies_too_low_moves_lines_to_lower_angles_most_at_small_ones() -> None:
    theta = np.radians(np.array([10.0, 45.0, 80.0]) / 2)
    shift = displacement_shift(np.cos(theta), displacement=0.1, radius=200.0)
    np.testing.assert_allclose(shift, np.degrees(-2 * 0.1 / 200 * np.cos(theta)))
    assert (shift < 0).all()
    assert (np.diff(np.abs(shift)) < 0).all()


def test_a_cubic_cell_under_any_strain_stays_cubic() -> None:
    metric = strained(metric_of(4, 4, 4, 90, 90, 90), random_strain(1), cubic_rotations())
    np.testing.assert_allclose(metric, metric[0, 0] * np.eye(3), atol=1e-15)
    assert metric[0, 0] != pytest.approx(1 / 16, abs=1e-6)


@pytest.mark.parametrize(
    ("cell", "rotations"),
    [((4, 4, 4, 90, 90, 90), cubic_rotations()), ((3.2, 3.2, 5.2, 90, 90, 120), hexagonal_rotations())],
)
def test_equivalent_reflections_stay_at_one_angle_when_the_lattice_is_strained(
    cell: tuple, rotations: np.ndarray
) -> None:
    metric = strained(metric_of(*cell), random_strain(2), rotations)
    equivalents = np.array([3, 1, 2]) @ rotations
    squared = np.einsum("ni,ij,nj->n", equivalents, metric, equivalents)
    np.testing.assert_allclose(squared, squared[0], rtol=1e-12)


def test_without_symmetry_a_strain_moves_each_reflection_its_own_way() -> None:
    metric = metric_of(4, 4, 4, 90, 90, 90)
    squared = np.diag(strained(metric, random_strain(3), IDENTITY) / metric[0, 0])
    assert np.ptp(squared) > 1e-3


def test_no_strain_changes_nothing_and_an_even_one_scales_every_spacing() -> None:
    metric, rotations = metric_of(3.2, 3.2, 5.2, 90, 90, 120), hexagonal_rotations()
    np.testing.assert_array_equal(strained(metric, np.zeros((3, 3)), rotations), metric)
    np.testing.assert_allclose(strained(metric, 0.01 * np.eye(3), rotations), metric * 0.99**2, rtol=1e-12, atol=1e-15)


def test_texture_of_r_one_changes_nothing() -> None:
    np.testing.assert_allclose(march_dollase_factor(np.linspace(0, 1, 50), r=1.0), 1)


@pytest.mark.parametrize("r", [0.3, 0.6, 1.0, 1.6, 3.0])
def test_texture_only_turns_crystallites_it_makes_none(r: float) -> None:
    # Over a sphere cos α is evenly spread: Gauss-Legendre sums the mean.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    assert (march_dollase_factor(nodes**2, r=r) * weights).sum() / 2 == pytest.approx(1, abs=1e-9)


def test_the_axis_reflection_of_plates_grows_by_r_to_the_minus_three() -> None:
    metric = metric_of(3.2, 3.2, 5.2, 90, 90, 120)
    basal, prism = np.array([[0, 0, 2]]), np.array([[1, 0, 0]])
    axis = np.array([0, 0, 1])
    assert texture_factor(basal, axis, hexagonal_rotations(), metric, r=0.7)[0] == pytest.approx(0.7**-3)
    assert texture_factor(prism, axis, hexagonal_rotations(), metric, r=0.7)[0] == pytest.approx(0.7**1.5)


def test_equivalent_reflections_have_one_texture_factor() -> None:
    metric, rotations = metric_of(4, 4, 4, 90, 90, 90), cubic_rotations()
    equivalents = np.array([3, 1, 2]) @ rotations
    factors = texture_factor(equivalents, np.array([1, 1, 0]), rotations, metric, r=0.6)
    np.testing.assert_allclose(factors, factors[0], rtol=1e-12)


@pytest.mark.parametrize(("axis", "count"), [((0, 0, 1), 3), ((1, 1, 1), 4), ((1, 1, 0), 6), ((1, 2, 3), 24)])
def test_cubic_axes_have_their_multiplicity_without_sign(axis: tuple, count: int) -> None:
    axes = equivalent_axes(np.array(axis), cubic_rotations())
    assert len(axes) == count
    assert not any((axes[:, None] == -axes).all(axis=2).ravel())


def test_lorentz_and_polarisation_are_those_of_the_simulation() -> None:
    # 2θ = 60°: cos² 2θ = 1/4, sin²θ = 1/4, cos θ = √3/2.
    assert lorentz_polarisation(0.25) == pytest.approx(1.25 / (0.25 * np.sqrt(0.75)))


def test_thermal_motion_weakens_lines_of_small_spacing_more() -> None:
    np.testing.assert_allclose(thermal_factor(np.array([0.0, 1.0]), b=2.0), [1, np.exp(-1)])


def test_every_instrument_that_can_be_drawn_has_a_width_at_all_angles() -> None:
    effect = InstrumentWidth(fwhm=(0.02, 0.5), u=(0, 0.5), dip=(0, 0.99))
    for fwhm, u, dip in itertools.product(effect.fwhm, effect.u, effect.dip):
        check_caglioti(u, -2 * dip * np.sqrt(u) * fwhm, fwhm**2)


def test_recipes_of_effects_survive_json() -> None:
    for recipe in (
        AugmentationConfig(),
        AugmentationConfig.only(),
        AugmentationConfig.only(Texture(r=(0.5, 0.5)), ZeroPointError()),
    ):
        assert AugmentationConfig.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert AugmentationConfig() != AugmentationConfig(strain=Strain(isotropic=(0, 0)))


def test_recipes_of_effects_are_read_from_toml() -> None:
    text = """
    share = 1.0
    doublet = false
    [texture]
    r = [0.5, 0.9]
    planes = [[0, 0, 1]]
    """
    recipe = AugmentationConfig.from_dict(tomllib.loads(text))
    assert recipe == replace(
        AugmentationConfig(share=1.0), doublet=None, texture=Texture(r=(0.5, 0.9), planes=((0, 0, 1),))
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"wobble": {}}, "counting_noise"),
        ({"texture": {"s": [1, 2]}}, "planes"),
        ({"texture": {"r": [2.0, 1.0]}}, "lower number first"),
        ({"texture": {"r": [0, 1.0]}}, "r is 0"),
        ({"texture": {"r": 0.5}}, "two numbers"),
        ({"texture": {"planes": [[0, 0, 0]]}}, "Miller"),
        ({"texture": 0.5}, "false"),
        ({"share": 1.5}, "share"),
        ({"smoothing": {"methods": ["median"]}}, "savitzky_golay"),
        ({"scan_step": {"step": [0.02, 5]}}, "step is 5"),
        ({"doublet": {"share": -1}}, "share"),
        ({"zero_shift": {"shift": [float("nan"), 1]}}, "nan"),
        ({"counting_noise": {"counts": ["many", 10]}}, "many"),
    ],
)
def test_impossible_recipes_of_effects_are_refused(values: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        AugmentationConfig.from_dict(values)


def test_an_unknown_anode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WavelengthError, match="Mo"):
        OtherRadiation(anodes=("Xx",))


def test_an_effect_in_the_place_of_another_is_refused() -> None:
    with pytest.raises(RecipeError, match="Background"):
        AugmentationConfig(background=CountingNoise())


def test_configurations_of_version_0_1_0_keep_their_effects_and_get_no_others() -> None:
    stored = AugmentationConfig().to_dict()
    former = dict(itertools.takewhile(lambda item: item[0] != "calculated_cell", stored.items()))
    assert len(former) == 17  # share and sixteen effects
    read = AugmentationConfig.from_dict({**former, "strain": {"share": 1.0, "isotropic": [-0.006, 0.006]}})
    assert {name for name in EFFECTS if getattr(read, name) is None} == set(EFFECTS) - set(former)
    assert read.strain == Strain()
    # With one of the present effects, or without one of the former ones, it is a recipe of today.
    assert AugmentationConfig.from_dict({**former, "smoothing": {}}).scan_step is not None
    assert AugmentationConfig.from_dict({"share": 0.5}).smoothing is not None
    assert AugmentationConfig.from_dict(read.to_dict()) == read


def test_every_effect_has_a_setting_and_every_range_a_limit() -> None:
    assert {item.name for item in fields(AugmentationConfig)} == {"share", *EFFECTS}
    for effect in EFFECTS.values():
        ranges = {item.name for item in fields(effect)} - {"share", "planes", "anodes", "methods"}
        assert ranges == set(effect.LIMITS)
        assert ranges >= effect.LOGARITHMIC
    assert Background().to_dict()["remains"] == [-0.03, 0.03]
