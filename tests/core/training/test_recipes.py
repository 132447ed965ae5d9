"""Every named recipe runs and is evaluated, and every wrong input is refused, through the command line."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from xxact_core.checkpoint import DESCRIPTION, WEIGHTS, write_description
from xxact_core.commands import main as cli
from xxact_core.dataset.building.build import BuildPlan, build_dataset
from xxact_core.dataset.splits import SPLITS
from xxact_core.dataset.store import file_digest
from xxact_core.errors import RecipeError
from xxact_core.model.config import BlockSizes, ForestSizes, ModelConfig
from xxact_core.setting_types import field_documentation
from xxact_core.training.config import Recipe, override
from xxact_core.training.recipes import DESCRIPTIONS, RECIPES, recipe_by_name
from xxact_core.training.run_folder import write_recipe

SMALLEST = {"width": 32, "depth": 1, "heads": 2, "feedforward": 64}
FEW_STEPS = {"epochs": 0.05, "batch_size": 16, "validation_rows": 32}
"""Five steps or so."""


@dataclass(frozen=True)
class Ended:
    """What a command printed, and with which code it ended."""

    code: int
    out: str
    error: str


Xxact = Callable[..., Ended]


@pytest.fixture
def xxact(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Xxact:
    """The command as the shell calls it, without the seconds that another process takes to start."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["xxact", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


def settings(values: dict) -> list[str]:
    return [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def built(source: Path, folder: Path, **plan: object) -> Path:
    build_dataset(BuildPlan(source=str(source), **plan), folder, workers=1, progress=False)
    return folder


@pytest.fixture(scope="session")
def structures(repository: Path) -> Path:
    return repository / "xxact_core" / "data" / "materials_project.parquet"


@pytest.fixture(scope="session")
def dataset(structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 materials of the shipped table."""
    return built(structures, tmp_path_factory.mktemp("recipes") / "data", limit=2000)


@pytest.fixture(scope="session")
def pretrained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that was pretrained only."""
    from xxact_core.training.config import override
    from xxact_core.training.recipes import recipe_by_name
    from xxact_core.training.run import train

    recipe = override(recipe_by_name("pretrain"), {**FEW_STEPS, "preset": "tiny"})
    return train(recipe, dataset, tmp_path_factory.mktemp("recipes") / "pretrained")


def test_both_losses_of_pretraining_have_the_same_size(dataset: Path) -> None:
    """Those of a model that knows nothing: the squared error of I/100 would vanish beside the contrastive loss."""
    import torch

    from xxact_core.dataset.loading.batches import BatchMaker
    from xxact_core.dataset.table import read_dataset
    from xxact_core.objectives.masked_patterns import draw_mask, reconstruction_loss

    table = read_dataset(dataset, resident=False)
    batch = BatchMaker(table, device=torch.device("cpu")).batch(table.rows("train")[:256], seed=0)
    uniform = torch.rand(batch.window_mask.shape, generator=torch.Generator().manual_seed(0))
    masked = draw_mask(~batch.window_mask, uniform)
    empty = torch.zeros(len(masked), masked.shape[1], batch.intensity.shape[1] // masked.shape[1])
    mxm = RECIPES["pretrain"].mxm_weight * float(reconstruction_loss(empty, batch.intensity / 100, masked))
    assert 0.2 < mxm / math.log(len(masked)) < 5


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tiny model for one target."""
    from xxact_core.training.config import override
    from xxact_core.training.recipes import recipe_by_name
    from xxact_core.training.run import train

    folder = tmp_path_factory.mktemp("recipes") / "trained"
    train(override(recipe_by_name("band-gap"), {**FEW_STEPS, "preset": "tiny"}), dataset, folder)
    return folder


def smallest_of(name: str, pretrained: Path) -> dict:
    """Settings that make a recipe run in seconds; FCN and FCN+MLP have fixed sizes."""
    recipe = RECIPES[name]
    values: dict = dict(FEW_STEPS)
    if recipe.preset.startswith("fcn"):
        values["epochs"] = 0.02
    elif recipe.preset == "extra-trees":
        values["model_settings"] = {"forest": {"trees": 20}}
    elif recipe.model_config().architecture != "xxact":
        values["model_settings"] = dict.fromkeys(("pattern", "composition", "fusion"), SMALLEST)
    else:
        values["preset"] = "tiny"
    if recipe.difference_weight:
        values["difference_weight"] = 0.0  # the dataset is too small to have polymorphs
    if recipe.start_from is not None:
        values["start_from"] = str(pretrained)
    return values


def expected_metric(target: str) -> str:
    return {
        "formation_energy_per_atom": "formation_energy_per_atom_mae_mev_per_atom",
        "band_gap": "band_gap_mae_ev",
    }.get(target, f"{target}_class_mean_accuracy")


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_trains_and_is_evaluated(
    name: str, dataset: Path, pretrained: Path, tmp_path: Path, xxact: Xxact
) -> None:
    recipe, run, predictions = RECIPES[name], tmp_path / "run", tmp_path / "predictions.h5"
    trained = xxact("train", dataset, run, "--recipe", name, *settings(smallest_of(name, pretrained)))
    assert trained.code == 0, trained.error
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    evaluated = xxact("evaluate", run / "model", dataset, "--json", "--predictions", predictions)
    assert evaluated.code == 0, evaluated.error
    metrics = json.loads(evaluated.out)
    assert -1 <= metrics["silhouette_mean"] <= 1
    asked = set(recipe.targets) if "targets" in recipe.objectives else set()
    assert all(expected_metric(target) in metrics for target in asked)
    if not asked:
        assert all(metric.startswith(("silhouette", "reconstruction")) for metric in metrics)
    with h5py.File(predictions) as file:
        assert set(file["predicted"] if asked else ()) == asked
        assert file["embedding"].shape[0] == len(file["id"])
    assert xxact("info", "--model", run / "model", "--json").code == 0


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name].model_config().architecture == "xxact"])
def test_every_recipe_has_a_size_for_a_processor(name: str) -> None:
    from xxact_core.training.config import override

    small = override(RECIPES[name], {"preset": "small"}).model_config()
    assert small.pattern == BlockSizes(width=192, depth=2, heads=4, feedforward=384)


@pytest.mark.parametrize("targets", [["density"], ["volume_per_atom", "lattice_a", "space_group"]], ids=len)
def test_any_target_of_a_data_set_can_be_learned_by_its_name(
    targets: list[str], dataset: Path, tmp_path: Path, xxact: Xxact
) -> None:
    changed = {**FEW_STEPS, "preset": "tiny", "targets": targets}
    assert xxact("train", dataset, tmp_path / "run", "--recipe", "multi-target", *settings(changed)).code == 0
    metrics = json.loads(xxact("evaluate", tmp_path / "run" / "model", dataset, "--json").out)
    for target in targets:
        assert any(name.startswith(target) for name in metrics)


def test_a_split_of_hardly_any_material_is_evaluated(
    trained: Path, structures: Path, tmp_path: Path, xxact: Xxact
) -> None:
    few = built(structures, tmp_path / "few", limit=12)
    with h5py.File(next(few.glob("*.h5"))) as file:
        splits = file["split"][...].tolist()
    name = min(("train", "validation", "test"), key=lambda name: splits.count(SPLITS.index(name)) or 99)
    ended = xxact("evaluate", trained / "model", few, "--split", name, "--json")
    assert ended.code == 0, ended.error
    assert json.loads(ended.out)["band_gap_mae_ev"] >= 0


def test_a_model_that_was_pretrained_only_predicts_nothing(pretrained: Path, examples: Path, xxact: Xxact) -> None:
    refused(xxact("predict", examples / "corundum.prn", "--formula", "Al2O3", "--model", pretrained), "fine-tune")


def refused(ended: Ended, *said: str) -> None:
    """One line that names what is wrong, and exit code 2."""
    assert ended.code == 2
    assert ended.error.startswith("xxact: ")
    assert ended.error.count("\n") == 1, ended.error
    for text in said:
        assert text in ended.error


TINY = {**FEW_STEPS, "preset": "tiny"}


@pytest.mark.parametrize("name", ["transfer-band-gap", "fine-tune"])
def test_a_recipe_that_begins_with_a_model_asks_for_it(name: str, dataset: Path, tmp_path: Path, xxact: Xxact) -> None:
    run = tmp_path / "run"
    refused(xxact("train", dataset, run, "--recipe", name, *settings(TINY)), name, "start_from")
    assert not run.exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": "ten"}, ("epochs", "'ten'", "a number")),
        ({"batch_size": 2.5}, ("batch_size", "2.5", "a whole number")),
        ({"batch_size": True}, ("batch_size", "True")),
        ({"targets": "band_gap"}, ("targets", "'band_gap'", "a list")),
        ({"betas": [0.9]}, ("betas", "2 numbers")),
        ({"freeze_backbone": "yes"}, ("freeze_backbone", "true or false")),
        ({"freeze_heads": True}, ("freeze_heads with freeze_backbone",)),
        ({"augmentation": "strong"}, ("augmentation", "'strong'")),
        ({"seed": -1}, ("seed",)),
        ({"threads": 0}, ("threads",)),
        ({"device": "toaster"}, ("device",)),
        ({"epoch": 3}, ("has no setting 'epoch' (did you mean 'epochs'?)",)),
        ({"model_settings": {"colour": 1}}, ("colour",)),
        ({"model_settings": {"tokenizer": "words"}}, ("tokenizer", "words")),
        ({"model_settings": {"fusion": {"width": "wide"}}}, ("fusion", "width", "'wide'")),
        ({"model_settings": {"fusion": {"girth": 3}}}, ("fusion", "girth")),
    ],
    ids=str,
)
def test_recipe_files_with_wrong_keys_or_types_are_refused(
    values: dict, said: tuple[str, ...], dataset: Path, tmp_path: Path, xxact: Xxact
) -> None:
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text('recipe = "tiny"\n' + to_toml(values))
    refused(xxact("train", dataset, run, "--recipe", recipe), *said)
    refused(xxact("train", dataset, run, "--recipe", "tiny", *settings(values)), *said)
    assert not run.exists()


def to_toml(values: dict, prefix: str = "") -> str:
    """Plain values as TOML: JSON writes numbers, texts and lists alike."""
    plain = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if not isinstance(value, dict))
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    return plain + "".join(f"[{prefix}{name}]\n{to_toml(value, f'{prefix}{name}.')}" for name, value in tables.items())


@pytest.mark.parametrize("content", [b"recipe = ", b"\xff\xfe\x00", b"<html></html>", b'recipe = "none"\n'], ids=repr)
def test_recipe_files_that_are_none_are_refused(content: bytes, dataset: Path, tmp_path: Path, xxact: Xxact) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(content)
    refused(xxact("train", dataset, tmp_path / "run", "--recipe", recipe))


def test_a_batch_beyond_the_training_split_is_refused(dataset: Path, tmp_path: Path, xxact: Xxact) -> None:
    run = tmp_path / "run"
    refused(xxact("train", dataset, run, "--recipe", "tiny", "--set", "batch_size=5000"), "5000", "training split")
    assert not run.exists()


@pytest.fixture(scope="module")
def without_symmetry(structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(structures, tmp_path_factory.mktemp("plain") / "data", limit=60, symmetry=False)


@pytest.mark.parametrize("name", ["crystal-system", "extra-trees"])
def test_a_data_set_without_the_targets_is_refused(
    name: str, without_symmetry: Path, tmp_path: Path, xxact: Xxact
) -> None:
    values = {} if name == "extra-trees" else TINY
    ended = xxact("train", without_symmetry, tmp_path / "run", "--recipe", name, *settings(values))
    refused(ended, "crystal_system", "no training material")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Salts of one structure type: all of them cubic."""
    folder = tmp_path_factory.mktemp("alike")
    for metal in ("Li", "Na", "K", "Rb", "Cs", "Ag"):
        for anion in ("F", "Cl", "Br", "I"):
            text = f"data_{metal}{anion}\n_symmetry_space_group_name_H-M 'F m -3 m'\n"
            text += "".join(f"_cell_length_{axis} 5.64\n" for axis in "abc")
            text += "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
            text += "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
            text += f"_atom_site_fract_z\n{metal}1 {metal} 0 0 0\n{anion}1 {anion} 0.5 0.5 0.5\n"
            (folder / f"{metal}{anion}.cif").write_text(text)
    return built(folder, folder.with_name("alike-data"))


@pytest.mark.parametrize("name", ["crystal-system", "extra-trees"])
def test_a_single_class_is_refused(name: str, alike: Path, tmp_path: Path, xxact: Xxact) -> None:
    values = {} if name == "extra-trees" else {**TINY, "batch_size": 2}
    ended = xxact("train", alike, tmp_path / "run", "--recipe", name, *settings(values))
    refused(ended, "crystal_system", "cubic", "every labelled training material")


@pytest.mark.parametrize("name", ["tiny", "extra-trees", "pretrain-mxm"])
def test_one_material_is_refused(name: str, structures: Path, tmp_path: Path, xxact: Xxact) -> None:
    single = built(structures, tmp_path / "single", limit=1)
    values = {} if name == "extra-trees" else {"preset": "tiny", "batch_size": 1}
    ended = xxact("train", single, tmp_path / "run", "--recipe", name, *settings(values))
    refused(ended, "materials in its training split")


def test_a_data_set_that_is_none_is_refused(trained: Path, tmp_path: Path, xxact: Xxact) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    for path in (file, tmp_path):
        refused(xxact("train", path, tmp_path / "run", "--recipe", "tiny"), str(path))
        refused(xxact("evaluate", trained / "model", path), str(path))


def test_a_run_folder_that_is_a_file_is_refused_and_stays(dataset: Path, tmp_path: Path, xxact: Xxact) -> None:
    file = tmp_path / "run"
    file.write_text("mine")
    for folder in (file, file / "below"):
        refused(xxact("train", dataset, folder, "--recipe", "tiny"), str(folder))
        refused(xxact("train", dataset, folder, "--recipe", "extra-trees"), str(folder))
    assert file.read_text() == "mine"


def test_another_recipe_is_refused_and_the_model_stays(
    trained: Path, dataset: Path, tmp_path: Path, xxact: Xxact
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    before = file_digest(run / "model" / WEIGHTS)
    for name, values, said in (
        ("band-gap", {"preset": "compact"}, "preset"),
        ("band-gap", {"preset": "tiny", "targets": ["density"]}, "targets"),
        ("band-gap", {"preset": "tiny", "epochs": "ten"}, "epochs"),
        ("extra-trees", {}, "preset"),
    ):
        refused(xxact("train", dataset, run, "--recipe", name, *settings({**FEW_STEPS, **values})), said)
    assert file_digest(run / "model" / WEIGHTS) == before


def test_snapshots_of_another_preset_are_refused(trained: Path, dataset: Path, tmp_path: Path, xxact: Xxact) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    described = json.loads((run / "recipe.json").read_text())
    described["recipe"]["preset"] = "compact"
    write_recipe(run, described)
    ended = xxact("train", dataset, run, "--recipe", "band-gap", *settings({**FEW_STEPS, "preset": "compact"}))
    refused(ended, "snapshot", "different architecture")


def test_weights_of_a_different_architecture_are_refused(
    trained: Path, dataset: Path, tmp_path: Path, xxact: Xxact
) -> None:
    for preset, said in (("compact", "different architecture"), ("crabnet-small", "different architecture")):
        values = {**FEW_STEPS, "preset": preset, "start_from": str(trained / "model")}
        refused(xxact("train", dataset, tmp_path / "run", "--recipe", "fine-tune", *settings(values)), preset, said)
    assert not (tmp_path / "run").exists()


def newer(folder: Path) -> None:
    description = json.loads((folder / DESCRIPTION).read_text())
    description["schema"] = "xxact-checkpoint-2"
    write_description(folder, description)


def truncated(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def truncated_description(folder: Path) -> None:
    content = (folder / DESCRIPTION).read_bytes()
    (folder / DESCRIPTION).write_bytes(content[: len(content) // 2])


def web_page(folder: Path) -> None:
    (folder / DESCRIPTION).write_text("<!DOCTYPE html><html><body>Not found</body></html>")


def nothing_in_it(folder: Path) -> None:
    (folder / DESCRIPTION).write_text('{"schema": "xxact-checkpoint-1"}')


def another_preset(folder: Path) -> None:
    description = json.loads((folder / DESCRIPTION).read_text())
    description["model"]["fusion"]["width"] = 64
    write_description(folder, description)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (newer, "newer version"),
        (truncated, "damaged"),
        (truncated_description, "not JSON"),
        (web_page, "not JSON"),
        (nothing_in_it, "lacks"),
        (another_preset, "has the shape"),
    ],
)
def test_checkpoints_that_cannot_be_used_are_refused(
    damage: Callable[[Path], None],
    said: str,
    trained: Path,
    dataset: Path,
    tmp_path: Path,
    xxact: Xxact,
) -> None:
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    damage(folder)
    refused(xxact("evaluate", folder, dataset), said)
    refused(xxact("predict", "nothing.xy", "--formula", "Al2O3", "--model", folder), said)
    started = {**TINY, "start_from": str(folder)}
    refused(xxact("train", dataset, tmp_path / "run", "--recipe", "fine-tune", *settings(started)), said)
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_checkpoint(dataset: Path, tmp_path: Path, xxact: Xxact) -> None:
    import torch

    file = tmp_path / "model.pt"
    torch.save({"weights": torch.zeros(3)}, file)
    refused(xxact("evaluate", file, dataset), str(file), "no checkpoint")
    refused(xxact("info", "--model", file), str(file), "no checkpoint")


def test_every_recipe_is_described_and_every_setting_is_documented() -> None:
    assert set(DESCRIPTIONS) == set(RECIPES)
    for settings in (Recipe, ModelConfig, BlockSizes, ForestSizes):
        documentation = field_documentation(settings)
        assert list(documentation) == [item.name for item in fields(settings)]
        assert all(text.endswith(".") for text in documentation.values()), settings


def test_recipes_are_shown_on_the_command_line() -> None:
    listed = CliRunner().invoke(cli.app, ["recipes"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(DESCRIPTIONS)
    shown = CliRunner().invoke(cli.app, ["recipes", "compact"]).stdout
    assert "lr_peak = 0.0008\n    Learning rate at the end of the warm-up." in shown
    assert 'tokenizer = "convolution"' in shown
    plain = json.loads(CliRunner().invoke(cli.app, ["recipes", "tiny", "--json"]).stdout)
    assert Recipe.from_dict(plain).model_config() == recipe_by_name("tiny").model_config()
    assert isinstance(CliRunner().invoke(cli.app, ["recipes", "huge"]).exception, RecipeError)


@pytest.mark.parametrize("sizes", [{"heads": 0}, {"width": 0}, {"feedforward": 0}, {"width": -4, "heads": -1}])
def test_sizes_below_one_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="at least 1"):
        override(recipe_by_name("tiny"), {"model_settings": {"pattern": sizes}})
