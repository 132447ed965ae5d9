"""Layouts of the tables of XxaCT-NN, with the paper's values, which are on Alexandria (4.55 million materials)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xxact_core.errors import InputError
from xxact_core.evaluation.tables import OF_ALL, OF_CLASSES
from xxact_core.paper.experiments import EMBEDDINGS, INFORMED, SHARES, STRATEGIES, VARIANT, scaling_name
from xxact_core.quantities import CRYSTAL_SYSTEMS

MAE = "formation_energy_per_atom_mae_mev_per_atom"
ACCURACY = "crystal_system_accuracy"
CLASS_MEAN = "crystal_system_class_mean_accuracy"
GAP_MAE = "band_gap_mae_ev"

RUN_FRACTIONS = (0.05, 0.15, 0.25)
"""Fractions of the training that table 2 compares."""

THRESHOLD_FRACTION = 0.25
"""The threshold of pretrained models is the baseline's metric after this fraction of its training (section 4.2)."""

DFT_MAE = f"{MAE} by DFT"
"""The error with regard to DFT labels, of models that may have been trained on others."""

E_F, SYSTEM = "Ef MAE [meV/atom]", "crystal system accuracy [%]"
E_F_DFT = "Ef MAE, DFT labels [meV/atom]"
SYSTEM_MEAN = "class-mean accuracy [%]"
GAP_COLUMNS = {
    "formation-energy": "band gap MAE [eV], from Ef",
    "crystal-system": "band gap MAE [eV], from crystal system",
    "multi-target": "band gap MAE [eV], from both",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a table: the metric of a run, and the paper's value."""

    row: str
    """Name of the row."""

    column: str
    """Name of the column, with its unit."""

    run: str | None = None
    """Name of the experiment; None where only the paper has a value."""

    metric: str = ""
    """Name of the metric, see `run_to_measures`."""

    paper: float | None = None
    """Value of the paper; None where it has none."""


@dataclass(frozen=True)
class Layout:
    """A table of the paper."""

    title: str
    """Title of the table."""

    cells: tuple[Cell, ...]
    """The cells, row by row."""

    notes: tuple[str, ...] = ()
    """Notes below the table, one sentence each."""

    @property
    def runs(self) -> list[str]:
        """Names of the experiments behind the cells, each once."""
        return list(dict.fromkeys(cell.run for cell in self.cells if cell.run is not None))


def at_share(metric: str, share: float) -> str:
    """Name of a metric of the validation split after a fraction of the training."""
    return f"{metric} at {share:.0%} of the training"


def steps_to(metric: str) -> str:
    """Name of the number of steps to the threshold of a metric."""
    return f"steps to the threshold of {metric}"


def _table_1() -> Iterator[Cell]:
    yield from _model("FCN + MLP (pattern, composition)", ("fcn-mlp-formation-energy-100", 147.6),
                      ("fcn-mlp-crystal-system-200", 92.5))  # fmt: skip
    yield from _model("XxaCT-NN single-task (pattern, composition)", ("xxact-formation-energy", 28.2),
                      ("xxact-crystal-system", 96.8), gap=(0.063, 0.1387))  # fmt: skip
    for column, metric in ((E_F, MAE), (E_F_DFT, DFT_MAE)):
        yield Cell(
            "… trained for crystal systems before (pattern, composition; not in the paper)", column, INFORMED, metric
        )
    both = "XxaCT-NN multi-task (pattern, composition)"
    yield from _model(both, ("xxact-multi-target", 40.4), ("xxact-multi-target", 97.2))
    yield Cell(both, GAP_COLUMNS["multi-target"], "xxact-multi-target-to-band-gap", GAP_MAE, 0.083)
    yield from _ours("Our variant multi-task (pattern, composition; not in the paper)", VARIANT)
    yield from _model("CrabNet (composition)", ("crabnet-formation-energy", 131),
                      ("crabnet-crystal-system", 67.8), gap=(0.233, None))  # fmt: skip
    yield from _model("FCN (pattern)", ("fcn-formation-energy-100", 420.7), ("fcn-crystal-system-200", 92.3))
    yield from _model("XRD transformer (pattern)", ("xrd-transformer-formation-energy", 422),
                      ("xrd-transformer-crystal-system", 92.1), gap=(0.200, 0.191))  # fmt: skip
    for column, metric in ((SYSTEM, ACCURACY), (SYSTEM_MEAN, CLASS_MEAN)):
        yield Cell("ExtraTrees on peaks (pattern; not in the paper)", column, "extra-trees", metric)
    yield Cell("ALIGNN (structure; Schmidt et al. 2024, on other splits)", E_F, paper=16)


def _ours(row: str, run: str) -> Iterator[Cell]:
    """Cells of a model that the paper does not have, with both targets."""
    columns = {E_F: MAE, E_F_DFT: DFT_MAE, SYSTEM: ACCURACY, SYSTEM_MEAN: CLASS_MEAN}
    yield from (Cell(row, column, run, metric) for column, metric in columns.items())


def _model(
    row: str,
    energy: tuple[str, float],
    system: tuple[str, float],
    *,
    gap: tuple[float | None, float | None] | None = None,
) -> Iterator[Cell]:
    yield Cell(row, E_F, energy[0], MAE, energy[1])
    yield Cell(row, E_F_DFT, energy[0], DFT_MAE)
    yield Cell(row, SYSTEM, system[0], ACCURACY, system[1])
    yield Cell(row, SYSTEM_MEAN, system[0], CLASS_MEAN)
    if gap is not None:
        for (before, _), paper, column in zip((energy, system), gap, GAP_COLUMNS.values(), strict=False):
            yield Cell(row, column, f"{before}-to-band-gap", GAP_MAE, paper)


def _table_2() -> Iterator[Cell]:
    papers = (
        ((167, 97, 81, 45.7), (83.4, 93.6, 95.8, 97.19)),
        ((105, 87, 76, 44.49), (93.9, 95.9, 96.4, 97.21)),
        ((101, 79, 72, 43.48), (94.7, 96.3, 96.5, 97.21)),
        ((91, 80, 68, 43.82), (95.2, 96.2, 96.7, 97.32)),
    )
    for (row, run), of_row in zip(STRATEGIES.items(), papers, strict=True):
        for metric, column, of_metric in zip((MAE, ACCURACY), (E_F, SYSTEM), of_row, strict=True):
            for share, paper in zip(RUN_FRACTIONS, of_metric, strict=False):
                yield Cell(row, f"{column} at {share:.0%}", run, at_share(metric, share), paper)
            yield Cell(row, f"{column}, test", run, metric, of_metric[-1])
            yield Cell(row, f"steps to threshold, {column}", run, steps_to(metric))


def _table_3() -> Iterator[Cell]:
    for row, model, energies, systems in (
        ("FCN (pattern)", "fcn", {50: 422.8, 100: 420.7}, {100: 90.78, 200: 92.29}),
        ("FCN + MLP (pattern, composition)", "fcn-mlp", {50: 147.1, 100: 147.6}, {50: 83.2, 100: 89.93, 200: 92.51}),
    ):
        for epochs, paper in energies.items():
            yield Cell(f"{row}, Ef, {epochs / 50:g} ×", E_F, f"{model}-formation-energy-{epochs}", MAE, paper)
        for epochs, paper in systems.items():
            name, run = f"{row}, crystal system, {epochs / 50:g} ×", f"{model}-crystal-system-{epochs}"
            yield Cell(name, SYSTEM, run, ACCURACY, paper)
            yield Cell(name, SYSTEM_MEAN, run, CLASS_MEAN)


_COLUMNS_4 = {name: run for name, run in EMBEDDINGS.items() if name != "CrabNet"}
_TABLE_4 = (
    (74.31, 88.26, 87.51, 87.28, 87.87),
    (87.15, 94.36, 94.15, 94.10, 94.48),
    (83.24, 94.81, 95.20, 95.19, 95.30),
    (97.77, 99.32, 99.34, 99.34, 99.37),
    (93.95, 98.55, 98.63, 98.61, 98.62),
    (87.32, 96.37, 96.33, 96.73, 96.73),
    (99.60, 99.81, 99.81, 99.84, 99.83),
    (92.14, 97.20, 97.21, 97.21, 97.32),
)
_TABLE_5 = (
    (0.07, 0.19, 0.33, 0.36, 0.37, 0.37),
    (-0.03, 0.05, 0.42, 0.45, 0.49, 0.50),
    (0.06, 0.21, 0.44, 0.48, 0.52, 0.51),
    (0.14, 0.38, 0.41, 0.43, 0.50, 0.49),
    (0.06, 0.24, 0.45, 0.47, 0.55, 0.53),
    (0.13, 0.37, 0.51, 0.53, 0.59, 0.58),
    (0.14, 0.52, 0.39, 0.41, 0.47, 0.46),
    (0.08, 0.29, 0.42, 0.45, 0.50, 0.50),
)


_OF_PAPER = ("CrabNet", "XRD transformer", *STRATEGIES)
"""Columns of tables 4 and 5 in the paper; table 4 is without CrabNet."""


def _by_system(columns: dict[str, str], metric: str, papers: tuple[tuple[float, ...], ...]) -> Iterator[Cell]:
    """Cells of a table by crystal system. The mean in the paper's last row is over materials, not over systems."""
    rows = dict(zip((*CRYSTAL_SYSTEMS, OF_ALL), papers, strict=True))
    in_paper = [name for name in _OF_PAPER if name in columns]
    for row, of_paper in rows.items():
        known = dict(zip(in_paper, of_paper, strict=True))
        for column, run in columns.items():
            yield Cell(row, column, run, f"{metric}/{row}", known.get(column))
    for column, run in columns.items():
        yield Cell(OF_CLASSES, column, run, f"{metric}/{OF_CLASSES}")


TABLES: dict[int, Layout] = {
    1: Layout(
        "Performance of all models",
        tuple(_table_1()),
        (
            "The paper reports one transfer of CrabNet, without the target that it was pretrained on.",
            "ALIGNN reads the crystal structure and was trained on another split.",
            "DFT labels: of the test materials that have one; the models were trained on the labels of the dataset.",
        ),
    ),
    2: Layout(
        "Pretraining: the validation split along the training, and the test split at its end",
        tuple(_table_2()),
        (
            f"Threshold: the metric of the run without pretraining after {THRESHOLD_FRACTION:.0%} of its steps.",
            "The paper states speed-ups of 4.2, 1.8 and 1.2 for contrastive + MXM, MXM and contrastive.",
        ),
    ),
    3: Layout(
        "FCN and FCN + MLP on single targets, by length of the training",
        tuple(_table_3()),
        ("1 × is the length of a supervised run, 50 epochs in the paper.",),
    ),
    4: Layout("Accuracy by crystal system [%]", tuple(_by_system(_COLUMNS_4, "accuracy", _TABLE_4))),
    5: Layout("Silhouette of the embedding by crystal system", tuple(_by_system(EMBEDDINGS, "silhouette", _TABLE_5))),
}

PAPER_LAWS = {"crabnet": (140.0, -0.046), "xxact": (70.0, -0.335)}
"""Figure 3: factor [meV/atom] and exponent of the paper's laws, of D in millions (section 4.4)."""

FIGURES: dict[int, list[str]] = {
    2: list(EMBEDDINGS.values()),
    3: [scaling_name(model, share) for model in PAPER_LAWS for share in SHARES],
    4: [],
    5: [],
    6: list(STRATEGIES.values()),
}
"""Experiments of each figure. Figure 1 is a drawing of the model; 4 and 5 show the dataset."""


def layout(number: int) -> Layout:
    """A table of the paper.

    Raises:
        InputError: the paper has no such table.
    """
    if number not in TABLES:
        msg = f"the paper has no table {number}; choose from {', '.join(map(str, TABLES))}"
        raise InputError(msg, code="E_PAPER")
    return TABLES[number]


def figure_runs(number: int) -> list[str]:
    """The experiments that a figure of the paper needs.

    Raises:
        InputError: the paper has no such figure, or it is not a plot.
    """
    if number not in FIGURES:
        msg = f"the paper has no plot of number {number}; choose from the figures {', '.join(map(str, FIGURES))}"
        raise InputError(msg, code="E_PAPER")
    return FIGURES[number]
