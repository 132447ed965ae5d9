"""Powder X-ray diffraction and composition → what the material is.

The names below are the public interface; each is imported from its module when it is first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xxact_core.augmentation.config import AugmentationConfig
    from xxact_core.checkpoint import Checkpoint, load_checkpoint
    from xxact_core.compositions.composition import Composition
    from xxact_core.compositions.formula import parse_formula
    from xxact_core.compositions.formula_format import format_formula
    from xxact_core.compositions.partial import PartialComposition, parse_composition
    from xxact_core.dataset.building.build import build_dataset
    from xxact_core.dataset.building.plan import BuildPlan
    from xxact_core.dataset.inspection import describe_dataset, verify_dataset
    from xxact_core.dataset.loading.batches import BatchMaker
    from xxact_core.dataset.opening import open_dataset
    from xxact_core.dataset.table import read_dataset
    from xxact_core.evaluation.embeddings import embed_dataset, embed_pattern
    from xxact_core.evaluation.reconstruction import reconstruct_pattern
    from xxact_core.evaluation.report import evaluate_checkpoint as evaluate
    from xxact_core.model.inputs import pattern_to_input
    from xxact_core.patterns.grid import GRID
    from xxact_core.patterns.pattern import GriddedPattern, Pattern, Sticks
    from xxact_core.peak_profiles.reference import broaden_sticks
    from xxact_core.prediction.prediction import Prediction
    from xxact_core.prediction.predictor import Predictor
    from xxact_core.processing.gridding import put_on_grid
    from xxact_core.processing.pipeline import ProcessingPipeline
    from xxact_core.quantities import CRYSTAL_SYSTEMS
    from xxact_core.readers.read import read_pattern, read_scans
    from xxact_core.readers.read_untrusted import read_untrusted_pattern
    from xxact_core.refinement.indexing import index_pattern
    from xxact_core.refinement.output_files import write_refinement
    from xxact_core.refinement.phases import structure_to_phase
    from xxact_core.refinement.refine import refine
    from xxact_core.refinement.settings import RefinementSettings
    from xxact_core.reports.analysed_pattern import AnalysedPattern, AnalysisSettings, PatternAnalyser
    from xxact_core.reports.files import write_report
    from xxact_core.search_match.identify import Identification, Identifier
    from xxact_core.search_match.phase_analysis import Phase, PhaseAnalysis
    from xxact_core.search_match.phases import find_phases
    from xxact_core.series.frames import Frames, read_frames
    from xxact_core.series.phase_series import PhaseSeries
    from xxact_core.series.phases import find_phases_of_series
    from xxact_core.shipped import example_path, shipped_path
    from xxact_core.training.config import Recipe, override
    from xxact_core.training.recipes import recipe_by_name
    from xxact_core.training.run import train

_MODULES = {
    "CRYSTAL_SYSTEMS": "quantities",
    "GRID": "patterns.grid",
    "AnalysedPattern": "reports.analysed_pattern",
    "AnalysisSettings": "reports.analysed_pattern",
    "BatchMaker": "dataset.loading.batches",
    "BuildPlan": "dataset.building.plan",
    "Checkpoint": "checkpoint",
    "Composition": "compositions.composition",
    "AugmentationConfig": "augmentation.config",
    "Frames": "series.frames",
    "GriddedPattern": "patterns.pattern",
    "Identification": "search_match.identify",
    "Identifier": "search_match.identify",
    "PartialComposition": "compositions.partial",
    "Pattern": "patterns.pattern",
    "PatternAnalyser": "reports.analysed_pattern",
    "Phase": "search_match.phase_analysis",
    "PhaseAnalysis": "search_match.phase_analysis",
    "PhaseSeries": "series.phase_series",
    "Prediction": "prediction.prediction",
    "Predictor": "prediction.predictor",
    "ProcessingPipeline": "processing.pipeline",
    "Recipe": "training.config",
    "RefinementSettings": "refinement.settings",
    "Sticks": "patterns.pattern",
    "build_dataset": "dataset.building.build",
    "describe_dataset": "dataset.inspection",
    "embed_dataset": "evaluation.embeddings",
    "embed_pattern": "evaluation.embeddings",
    "evaluate": "evaluation.report",
    "example_path": "shipped",
    "find_phases": "search_match.phases",
    "find_phases_of_series": "series.phases",
    "format_formula": "compositions.formula_format",
    "load_checkpoint": "checkpoint",
    "index_pattern": "refinement.indexing",
    "open_dataset": "dataset.opening",
    "override": "training.config",
    "parse_composition": "compositions.partial",
    "parse_formula": "compositions.formula",
    "pattern_to_input": "model.inputs",
    "put_on_grid": "processing.gridding",
    "read_dataset": "dataset.table",
    "read_untrusted_pattern": "readers.read_untrusted",
    "read_frames": "series.frames",
    "read_pattern": "readers.read",
    "read_scans": "readers.read",
    "recipe_by_name": "training.recipes",
    "refine": "refinement.refine",
    "reconstruct_pattern": "evaluation.reconstruction",
    "shipped_path": "shipped",
    "structure_to_phase": "refinement.phases",
    "broaden_sticks": "peak_profiles.reference",
    "train": "training.run",
    "verify_dataset": "dataset.inspection",
    "write_refinement": "refinement.output_files",
    "write_report": "reports.files",
}
"""Public name → the module of this package that defines it."""

_DEFINED_AS = {"evaluate": "evaluate_checkpoint"}
"""Public names that the module spells out."""

__all__ = [
    "CRYSTAL_SYSTEMS",
    "GRID",
    "AnalysedPattern",
    "AnalysisSettings",
    "AugmentationConfig",
    "BatchMaker",
    "BuildPlan",
    "Checkpoint",
    "Composition",
    "Frames",
    "GriddedPattern",
    "Identification",
    "Identifier",
    "PartialComposition",
    "Pattern",
    "PatternAnalyser",
    "Phase",
    "PhaseAnalysis",
    "PhaseSeries",
    "Prediction",
    "Predictor",
    "ProcessingPipeline",
    "Recipe",
    "RefinementSettings",
    "Sticks",
    "__version__",
    "broaden_sticks",
    "build_dataset",
    "describe_dataset",
    "embed_dataset",
    "embed_pattern",
    "evaluate",
    "example_path",
    "find_phases",
    "find_phases_of_series",
    "format_formula",
    "index_pattern",
    "load_checkpoint",
    "open_dataset",
    "override",
    "parse_composition",
    "parse_formula",
    "pattern_to_input",
    "put_on_grid",
    "read_dataset",
    "read_frames",
    "read_pattern",
    "read_scans",
    "read_untrusted_pattern",
    "recipe_by_name",
    "reconstruct_pattern",
    "refine",
    "shipped_path",
    "structure_to_phase",
    "train",
    "verify_dataset",
    "write_refinement",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("xxact")
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), _DEFINED_AS.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
