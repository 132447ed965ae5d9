from __future__ import annotations

import errno
import os
import tempfile
import zipfile
from pathlib import Path

import pytest

from xxact_app.library import structure_uploads
from xxact_app.library.structure_uploads import keep_structures
from xxact_app.library.workspace import Workspace, WorkspaceError, check_name, free_name, open_workspace, own_folders
from xxact_app.server.command import serve_app
from xxact_core.structures.labels import Labels
from xxact_core.structures.sources import list_blocks, read_block


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "owner").mkdir()
    return open_workspace(tmp_path / "my work ä", sources=(tmp_path / "owner",))


def test_the_workspace_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XXACT_WORKSPACE", str(tmp_path / "here"))
    monkeypatch.setenv("XXACT_SOURCES", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    workspace = open_workspace()
    assert workspace.root == tmp_path / "here"
    assert workspace.sources == (tmp_path / "a", tmp_path / "b")
    assert sorted(path.name for path in workspace.root.iterdir()) == ["datasets", "jobs", "runs", "sessions", "uploads"]


def test_a_workspace_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=r"cannot be written .*--workspace"):
        open_workspace(tmp_path / "file")


def test_workspace_on_a_read_only_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_workspace(tmp_path)

    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(WorkspaceError, match=r"cannot be written .*Read-only file system"):
        open_workspace(tmp_path)


def test_app_with_a_workspace_that_cannot_be_written_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="cannot be written"):
        serve_app(workspace=tmp_path / "file")


def test_uploads_have_a_limit_and_leave_room_on_the_disk(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_structures([("a.cif", b"data_a")], workspace)
    monkeypatch.setattr(structure_uploads, "LARGEST_UPLOADS", 300)
    with pytest.raises(WorkspaceError, match="delete folders"):
        keep_structures([("b.cif", b"data_b" * 60)], workspace)
    monkeypatch.undo()
    monkeypatch.setattr(structure_uploads, "_FREE_BYTES", 2**62)
    with pytest.raises(WorkspaceError, match="are kept free"):
        keep_structures([("b.cif", b"data_b")], workspace)
    assert len(list(workspace.uploads.iterdir())) == 1


def test_upload_to_a_full_disk_leaves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(WorkspaceError, match="the disk may be full"):
        keep_structures([("a.cif", b"data_a")], workspace)
    assert list(workspace.uploads.iterdir()) == []


@pytest.mark.parametrize("text", ["/etc/passwd", "..", "../..", "owner/../../etc", "", " ", "a\0b", "~/x"])
def test_nothing_outside_the_allowed_folders_is_read(workspace: Workspace, text: str) -> None:
    with pytest.raises(WorkspaceError):
        workspace.readable_path(text)


def test_the_owners_folders_and_the_workspace_are_read(workspace: Workspace) -> None:
    (workspace.sources[0] / "a.cif").write_text("data_a")
    assert workspace.readable_path(str(workspace.sources[0] / "a.cif")).name == "a.cif"
    assert workspace.readable_path("runs") == workspace.runs
    with pytest.raises(WorkspaceError, match="there is no"):
        workspace.readable_path("runs/none")


def test_a_link_out_of_the_allowed_folders_is_not_followed(workspace: Workspace) -> None:
    deep = workspace.sources[0] / "set" / "deep"
    deep.mkdir(parents=True)
    (deep / "inside.cif").symlink_to(workspace.root)
    assert workspace.readable_path(str(deep.parent)) == deep.parent
    (deep / "passwd.cif").symlink_to("/etc/passwd")
    with pytest.raises(WorkspaceError, match="leads out"):
        workspace.readable_path(str(deep.parent))
    with pytest.raises(WorkspaceError, match="not in a folder"):
        workspace.readable_path(str(deep / "passwd.cif"))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "-x", "ä", "x" * 61, "a.part", "<b>", "a b"])
def test_names_that_are_no_plain_folders_are_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(WorkspaceError, match="cannot be a folder"):
        check_name(name, parent=workspace.runs)


def test_two_names_that_differ_in_case_are_one(workspace: Workspace) -> None:
    (workspace.runs / "Mine").mkdir()
    with pytest.raises(WorkspaceError, match="already"):
        check_name("mine", parent=workspace.runs)
    assert free_name("mine", parent=workspace.runs) == "mine-2"
    assert check_name(free_name("<b>/..", parent=workspace.runs), parent=workspace.runs) == "b"


def test_links_and_hidden_folders_are_nobodys(workspace: Workspace) -> None:
    (workspace.runs / "real").mkdir()
    (workspace.runs / ".hidden").mkdir()
    (workspace.runs / "link").symlink_to(workspace.root)
    assert [folder.name for folder in own_folders(workspace.runs)] == ["real"]


def test_dropped_names_never_become_paths_and_stay_what_the_material_is_called(
    workspace: Workspace, examples: Path
) -> None:
    cif = (examples / "lanthanum_hexaboride.cif").read_bytes()
    names = ["../../x.cif", "CON.cif", "A.cif", "a.cif", "😀.cif", "n\0l.cif", "y" * 300 + ".cif", "<img src=x>.cif"]
    upload = keep_structures([*((name, cif) for name in names), ("table.xyz", b"1\n\nH 0 0 0\n")], workspace)
    assert upload.words == "8 CIF files, table.xyz"
    assert keep_structures([*((name, cif) for name in names), ("table.xyz", b"1\n\nH 0 0 0\n")], workspace) == upload
    files = [path for path in workspace.root.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {upload.folder}
    with zipfile.ZipFile(upload.folder / "cif-files.zip") as archive:
        assert len(archive.namelist()) == len(names)
    items = [item for block in list_blocks(upload.folder, rows=100) for item in read_block(block, labels=Labels())]
    assert len(items) == len(names) + 1


def test_files_of_other_kinds_are_refused_by_name_and_leave_nothing(workspace: Workspace) -> None:
    for name, content in (("<b>.exe", b"MZ"), ("empty.cif", b""), ("model.pt", b"x")):
        with pytest.raises(WorkspaceError, match=r"CIF files"):
            keep_structures([("good.cif", b"data_x"), (name, content)], workspace)
    assert list(workspace.uploads.iterdir()) == []
