from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from app_fixtures import FakePredictor

from xxact_app.jobs.records import Job, JobError, write_job
from xxact_app.library.workspace import Workspace, WorkspaceError, open_workspace
from xxact_app.screens.training import text as words
from xxact_app.screens.training.choices import TrainingChoice, check_choice, choice_to_settings
from xxact_app.screens.training.rows import RunRow
from xxact_app.screens.training.store import TrainingStore, queue_texts
from xxact_app.screens.training.view import TrainingScreen
from xxact_app.session.session import Session
from xxact_app.ui.safe_text import plain_markdown
from xxact_core.errors import CheckpointError, InputError, RecipeError
from xxact_core.training.recipes import recipe_by_name
from xxact_core.training.run import train

pytestmark = pytest.mark.usefixtures("tables")

PATIENCE = 300
SETTINGS = "validate_every=10\nvalidation_rows=20\nsave_every=10\nbatch_size=16\ndevice=cpu"


@pytest.fixture
def workspace(tmp_path: Path, small_dataset: Path) -> Workspace:
    workspace = open_workspace(tmp_path / "work", sources=())
    shutil.copytree(small_dataset, workspace.datasets / "small")
    return workspace


@pytest.fixture
def store(workspace: Workspace) -> TrainingStore:
    return TrainingStore(Session(), workspace, load=lambda _: FakePredictor())


@pytest.fixture(scope="module")
def finished_run(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "made-by-hand"
    recipe = replace(recipe_by_name("tiny"), epochs=0.2, batch_size=16, validate_every=4, validation_rows=16)
    train(recipe, small_dataset, folder)
    return folder


def choice(store: TrainingStore, **changes: object) -> TrainingChoice:
    return replace(TrainingChoice(store.datasets()["small"], "tiny", settings=SETTINGS), **changes)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def settled(view: TrainingScreen) -> None:
    """Poll until the estimate is shown."""
    view.poll()
    until(lambda: view.form._asked is None or view.form._asked.done())
    view.poll()


def recorded(monkeypatch: pytest.MonkeyPatch, store: TrainingStore) -> list[Job]:
    """Jobs are recorded as failed instead of being started."""
    made: list[Job] = []

    def launch(job: Job) -> None:
        made.append(job)
        write_job(store.jobs.folder, replace(job, state="failed"))

    monkeypatch.setattr(store.jobs, "_launch", launch)
    return made


@pytest.mark.slow
def test_a_training_outlives_its_server_is_stopped_resumed_and_used(store: TrainingStore) -> None:
    store.start_training(choice(store, epochs=500.0), name="mine")
    until(lambda: (store.curves("mine").latest("loss") or 0) > 0)
    second = TrainingStore(Session(), store.workspace)  # as if the first had been killed
    (row,) = second.rows()
    assert (row.name, row.state, row.can_stop, row.can_use) == ("mine", "running", True, False)
    assert row.progress is not None
    with pytest.raises(JobError, match="stop it before"):
        second.remove(row.key)
    second.stop(row.key)
    with pytest.raises(JobError, match="already being stopped"):
        store.stop(row.key)
    until(lambda: not store.rows()[0].can_stop and store.rows()[0].state == "cancelled")
    stopped = store.curves("mine").step
    assert any((store.workspace.runs / "mine" / "checkpoints").glob("step-*"))
    store.resume(row.key)
    until(lambda: store.curves("mine").step > stopped)
    steps = store.curves("mine").curve("loss")[0]  # read once: the training goes on
    assert steps == sorted(set(steps))
    store.stop(row.key)
    until(lambda: store.rows()[0].state == "cancelled")
    store.remove(row.key)
    assert store.rows() == []
    assert not (store.workspace.runs / "mine").exists()


@pytest.mark.slow
def test_dropped_structures_become_a_data_set(store: TrainingStore, examples: Path) -> None:
    cif = (examples / "lanthanum_hexaboride.cif").read_bytes()
    upload = store.keep_structures([("a.cif", STRUCTURE), ("b.cif", cif[:50]), ("a.cif", STRUCTURE)])
    store.start_build(upload, name="mine", limit=None)
    until(lambda: store.rows()[0].can_remove)
    (row,) = store.rows()
    assert (row.state, row.status, row.reason) == ("finished", "3 of 3 structures", "")
    facts = store.facts(store.datasets()["mine"])
    assert (facts.materials, facts.errors, facts.source) == (2, 1, "uploaded files")
    text = words.facts(facts)
    assert "1 structure could not be used." in text
    assert re.search(r"<details><summary>Reasons</summary><ul><li>b: not a readable CIF", text)
    assert facts.labelled["crystal_system"] == 2
    assert facts.labelled["band_gap"] == 0


STRUCTURE = b"""data_NaCl
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "fine-tune"}, "select the run to continue"),
        ({"start_from": "../runs"}, "has no run"),
        ({"batch_size": 100_000, "settings": ""}, "larger than the"),
        ({"settings": "nonsense=1"}, "has no setting"),
        ({"settings": "nonsense"}, "NAME=VALUE"),
        ({"settings": "start_from=/etc"}, "not in a folder that this server may read"),
        ({"settings": 'extra_datasets=["/etc"]'}, "not in a folder that this server may read"),
        ({"settings": 'extra_datasets=["https://example.org/set"]'}, "is a URL, and this server fetches nothing"),
        ({"settings": 'more_data=["s3://bucket/set"]'}, "is a URL, and this server fetches nothing"),
        ({"settings": "start_from=http://169.254.169.254/model"}, "is a URL, and this server fetches nothing"),
        ({"settings": "epochs=-1"}, "cannot be run"),
        ({"dataset": "/etc"}, "not in a folder that this server may read"),
        ({"dataset": "runs"}, "not a finished dataset"),
    ],
)
def test_an_invalid_training_is_refused_before_a_process_is_started(
    store: TrainingStore, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        store.start_training(choice(store, **changes), name="mine")
    assert store.rows() == []


def test_targets_without_labels_are_refused_with_those_that_there_are(
    store: TrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = store.facts(store.datasets()["small"])
    monkeypatch.setattr(store, "facts", lambda _: replace(facts, labelled={**facts.labelled, "band_gap": 0}))
    with pytest.raises(RecipeError, match=r"no labels of band gap; available targets: .*crystal system"):
        store.estimate(choice(store))


def test_a_full_disk_is_reported_beforehand(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(store.workspace.root)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(WorkspaceError, match="GB left"):
        store.start_training(choice(store), name="mine")
    with pytest.raises(WorkspaceError, match="GB left"):
        store.start_build("shipped", name="all", limit=None)


def test_a_data_set_in_use_is_not_removed(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recorded(monkeypatch, store)
    store.start_build("shipped", name="mp", limit=500)
    (job,) = made
    assert job.arguments[-2:] == ("--limit", "500")
    user = Job("k", "train", "user", ("train", job.output, "x"), "x", 1.0, state="running")
    monkeypatch.setattr(store.jobs, "get", lambda _: replace(job, state="finished"))
    monkeypatch.setattr(store.jobs, "list", lambda: [user])
    with pytest.raises(JobError, match="in use by user"):
        store.remove(job.key)


def test_a_recipe_goes_on_from_a_finished_run_of_any_make(
    store: TrainingStore, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_run, store.workspace.runs / "before")
    made = recorded(monkeypatch, store)
    assert store.run_models() == {"before": "run before"}
    store.start_training(choice(store, recipe="fine-tune", start_from="run before"), name="after")
    assert 'preset="tiny"' in made[0].arguments
    assert f'start_from="{store.workspace.runs / "before" / "model"}"' in made[0].arguments


def test_runs_of_the_command_line_are_shown_compared_and_used(store: TrainingStore, finished_run: Path) -> None:
    for name in ("one", "two <b>"):
        shutil.copytree(finished_run, store.workspace.runs / name)
    view = TrainingScreen(store.session, store)
    view.poll()
    assert view.runs.table.value["name"].tolist() == ["one", "two ‹b›"]
    assert view.runs.table.value["state"].tolist() == ["finished"] * 2
    assert store.session.compared == ["one"]
    assert view.curves.panel.visible
    assert len(view.curves.loss.legend.items) > 1  # the loss and its parts
    view.runs.table.selection = [0, 1]
    assert store.session.compared == ["one", "two <b>"]
    drawn = [line for line in view.curves.loss.lines if line.visible]
    assert [line.data_source.data["name"][0] for line in drawn] == ["one", "two ‹b›"]
    assert view.curves.measure.value == "crystal_system_accuracy"
    assert len(view.curves.metric.lines[0].data_source.data["x"]) > 0
    assert "<th scope='col'>two ‹b›</th>" in view.curves.table.object
    assert view.runs.use.disabled
    light = drawn[0].glyph.line_color
    store.session.dark = True
    assert drawn[0].glyph.line_color != light
    view.runs.table.selection = [1]
    assert not view.runs.use.disabled
    view.runs.use.param.trigger("clicks")
    assert store.session.model == "run two <b>"
    assert view.runs.shipped.visible
    view.runs.shipped.param.trigger("clicks")
    assert store.session.model == "shipped"


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(workspace: Workspace) -> None:
    def damaged(_name: str) -> object:
        msg = "it is <b>damaged"
        raise CheckpointError(msg, code="E_CHECKPOINT")

    store = TrainingStore(Session(model="run good"), workspace, load=damaged)
    view = TrainingScreen(store.session, store)
    view.runs._act(store.use_model, ["run bad"])
    assert store.session.model == "run good"
    assert view.runs.message.object == plain_markdown("it is ‹b›damaged")
    assert view.runs.message.severity == "error"


def test_the_form_estimates_refuses_and_starts(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recorded(monkeypatch, store)
    view = TrainingScreen(store.session, store)
    form = view.form
    assert view.data.dataset.value == store.datasets()["small"]
    assert "for training" in view.data.facts.object
    form.recipe.value, form.settings.value, form.epochs.value = "tiny", SETTINGS, "2"
    settled(view)
    assert "About" in form.estimate.object
    assert not form.start.disabled
    form.batch_size.value = "many"
    view.poll()
    assert form.batch_size.error_state
    assert form.start.disabled
    form.batch_size.value = "1000000"
    form.settings.value = ""
    settled(view)
    assert "larger than the" in form.estimate.object
    assert form.start.disabled
    form.batch_size.value, form.settings.value = "", SETTINGS
    settled(view)
    form.name.value = "no/name"
    form.start.param.trigger("clicks")
    assert "cannot be a folder" in form.message.object.replace("\\", "")
    form.name.value = "mine"
    form.start.param.trigger("clicks")
    assert [job.name for job in made] == ["mine"]
    assert (form.message.severity, form.message.visible) == ("success", True)
    assert "epochs=2.0" in made[0].arguments


def test_the_form_proposes_what_recipe_and_dataset_allow(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = store.facts(store.datasets()["small"])
    labelled = {**facts.labelled, "band_gap": 0}
    monkeypatch.setattr(store, "facts", lambda _: replace(facts, train=100, labelled=labelled))
    form = TrainingScreen(store.session, store).form
    form.poll()
    recipe = recipe_by_name("compact")
    assert (form.epochs.value, form.batch_size.value) == (f"{recipe.epochs:g}", "8")
    assert f"Batch size 8 instead of the recipe&#x27;s {recipe.batch_size}" in form.fitted.object
    assert "no labels: band gap" in form.fitted.object.lower().replace("not trained, because the dataset has ", "")
    assert form.targets.value == [name for name in recipe.targets if name != "band_gap"]
    assert "band_gap" not in form.targets.options.values()
    form.epochs.value = "7"
    form.recipe.value = "tiny"
    form.poll()
    assert (form.epochs.value, form.batch_size.value) == ("7", "32"), "what the user typed stays"
    choice = form._choice()
    assert choice is not None
    settings = choice_to_settings(choice, store.workspace)
    assert settings == {"epochs": 7.0, "targets": list(choice.targets)}, "what the recipe has is no setting"
    check_choice(choice, store.facts(choice.dataset), settings)


def test_polymorphs_are_compared_only_where_the_dataset_has_some(
    store: TrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = store.facts(store.datasets()["small"])
    monkeypatch.setattr(store, "facts", lambda _: replace(facts, train=100, polymorphs=0))
    form = TrainingScreen(store.session, store).form
    form.poll()
    assert "Polymorphs are not compared: no formula has two training materials" in form.fitted.object
    choice = form._choice()
    settings = choice_to_settings(choice, store.workspace)
    assert settings["difference_weight"] == 0
    assert check_choice(choice, store.facts(""), settings).difference_weight == 0
    with pytest.raises(RecipeError, match=r"polymorphs cannot be compared.*set difference_weight=0"):
        store.estimate(replace(choice, settings="difference_weight=0.5"))
    monkeypatch.setattr(store, "facts", lambda _: replace(facts, train=100, polymorphs=3))
    form._filled_for = None
    form.poll()
    assert "Polymorphs" not in form.fitted.object
    assert "difference_weight" not in choice_to_settings(form._choice(), store.workspace)


def test_the_materials_of_a_dataset_are_counted_by_crystal_system(store: TrainingStore) -> None:
    facts = store.facts(store.datasets()["small"])
    assert sum(facts.crystal_systems.values()) == facts.materials
    text = TrainingScreen(store.session, store).data.facts.object
    assert f"Materials by crystal system ({facts.space_groups} space groups)" in text
    cells = re.findall(r"<th scope='row'>(\w+)</th><td class='bar'>.*?</td><td>([\d,]+)</td>", text)
    assert {name: int(count.replace(",", "")) for name, count in cells} == facts.crystal_systems
    assert "width:100.0%" in text


def test_structures_dropped_on_the_page_go_to_the_dataset(store: TrainingStore) -> None:
    view = TrainingScreen(store.session, store)
    view.data.source.value = "server"
    assert view.take_files([("a.xy", b"1 2")]) == [("a.xy", b"1 2")]
    assert not view.data.form.visible
    assert view.take_files([("a.cif", STRUCTURE), ("b.xy", b"1 2"), ("c.CIF", STRUCTURE)]) == [("b.xy", b"1 2")]
    assert view.data.form.visible
    assert view.data.source.value == "dropped"
    assert "2 CIF files" in view.data.message.object


def test_the_message_of_a_build_goes_when_its_dataset_is_there(
    store: TrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(monkeypatch, store)
    data = TrainingScreen(store.session, store).data
    data.take_structures([("a.cif", STRUCTURE)])
    data._build()
    assert (data.message.severity, data.message.visible) == ("success", True)
    shutil.copytree(store.workspace.datasets / "small", store.workspace.datasets / "new")
    data.refresh()
    assert not data.message.visible
    assert data.dataset.value == store.datasets()["small"]


def test_a_count_beyond_the_number_of_files_stands_alone(store: TrainingStore) -> None:
    folder = store.workspace.datasets / "growing"
    folder.mkdir()
    job = Job("x", "build", "growing", (), str(folder), 0.0, about={"total": 2})
    for rows, status, share in ((1, "1 of 2 structures", 0.5), (3, "3 structures", None)):
        store._built.clear()
        (folder / "shard-000000000.json").write_text(json.dumps({"rows": rows}))
        assert store._build_progress(job)[:2] == (share, status)


def test_too_large_a_batch_is_made_to_fit(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    view = TrainingScreen(store.session, store)
    form, found = view.form, store.estimate(choice(store))
    large = replace(found, memory=2 * found.memory_free, fitting_micro_batch=8)
    monkeypatch.setattr(store, "estimate", lambda asked: found if asked.micro_batch_size == 8 else large)
    settled(view)
    assert form.start.disabled
    assert form.fit_memory.visible
    form.fit_memory.param.trigger("clicks")
    settled(view)
    assert form.micro_batch.value == "8"
    assert not form.start.disabled


def test_structures_are_dropped_named_and_built(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recorded(monkeypatch, store)
    data = TrainingScreen(store.session, store).data
    data.build_new.value = True
    assert data.form.visible
    data._build()
    assert "Upload files first" in data.message.object
    data._take([("<b>.txt", b"x")])
    assert "‹b›" in data.message.object
    data._take([("a.cif", STRUCTURE)])
    assert "1 CIF file" in data.message.object
    data._build()
    assert made[0].arguments[1] == str(next(store.workspace.uploads.iterdir()))
    data.source.value = "server"
    assert data.path.visible
    assert not data.drop.visible
    data.path.value = "/etc"
    data._build()
    assert data.message.severity == "error"
    data.source.value = "shipped"
    data.limit.value = 700
    data._build()
    assert made[1].about == {"total": 700}


def row(**changes: object) -> Row:
    base = RunRow(
        key="k", kind="train", name="mine", run="mine", state="running", progress=0.5, status="step 1 of 2",
        seconds_left=100.0, reason="", can_stop=True, can_resume=False, can_use=False, can_remove=False,
    )  # fmt: skip
    return replace(base, **changes)


def test_the_list_keeps_its_selection_and_changes_only_what_is_new(
    store: TrainingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        row(),
        row(key="b", name="other", run="other", state="failed", reason="no <b>", can_stop=False, can_resume=True),
    ]
    monkeypatch.setattr(store, "rows", lambda: rows)
    view = TrainingScreen(store.session, store)
    view.poll()
    runs = view.runs
    assert runs.table.selection == [0]
    assert "mine: running, 50\N{NO-BREAK SPACE}%" in runs.detail.object
    assert "about 2 min left" in runs.detail.object
    frame = runs.table.value
    view.poll()
    assert runs.table.value is frame, "nothing is new"
    rows = [replace(rows[0], progress=0.75), rows[1]]
    view.poll()
    assert runs.table.selection == [0]
    assert runs.table.value["share"].tolist() == ["75\N{NO-BREAK SPACE}%", "50\N{NO-BREAK SPACE}%"]
    rows = [row(key="new", name="new"), *rows]
    view.poll()
    assert runs.table.selection == [1]
    runs.table.selection = [2]
    assert not runs.resume.disabled
    assert runs.stop.disabled
    assert "no &lt;b&gt;" in runs.detail.object


def test_deleting_is_asked_twice(store: TrainingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    monkeypatch.setattr(store, "rows", lambda: [row(state="finished", can_stop=False, can_remove=True)])
    monkeypatch.setattr(store, "remove", removed.append)
    view = TrainingScreen(store.session, store)
    view.poll()
    view.runs.remove.param.trigger("clicks")
    assert view.runs.confirmation.visible
    assert removed == []
    view.runs.cancel.param.trigger("clicks")
    assert not view.runs.confirmation.visible
    view.runs.remove.param.trigger("clicks")
    view.runs.confirm.param.trigger("clicks")
    assert removed == ["k"]


def test_the_disk_is_looked_at_only_while_the_screen_is_seen(store: TrainingStore) -> None:
    view = TrainingScreen(store.session, store)
    assert not view.timer.running
    view.come_to_front(in_front=True)
    assert view.timer.running
    view.come_to_front(in_front=True)
    assert view.timer.running
    view.come_to_front(in_front=False)
    assert not view.timer.running


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (12_345, "3 h 25 min"), (900_000, "10 days")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_curves_are_called_by_what_they_measure() -> None:
    assert words.curve_label("loss of band_gap") == "Loss of band gap"
    assert words.curve_label("loss of mxm") == "Loss of masked XRD modelling"
    assert words.curve_label("loss of symmetry_contrast") == "Loss of symmetry contrast"
    assert words.curve_label("formation_energy_per_atom_mae") == "Formation energy, MAE"
    assert words.curve_label("band_gap_mae_ev") == "Band gap, MAE [eV]"
    assert words.curve_label("space_group_top_3_accuracy") == "Space group, top-3 accuracy"
    assert words.curve_label("<script>") == "‹script›"


def test_a_queued_job_says_how_many_are_ahead() -> None:
    jobs = [
        Job(f"{number}", "train", f"run{number}", (), "", float(number), {}, state=state)
        for number, state in enumerate(["finished", "running", "queued", "queued"])
    ]
    assert queue_texts(jobs, limit=1) == {
        "2": "one job is ahead, one job runs at a time", "3": "2 jobs are ahead, one job runs at a time",
    }  # fmt: skip
