"""Uploaded structures, stored in a folder named by their digest, from which datasets are built."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from xxact_app.library.workspace import Workspace, WorkspaceError
from xxact_app.ui.safe_text import safe_text
from xxact_core.errors import shorten
from xxact_core.structures.source_files import KINDS_IN_WORDS, file_kind

CIFS = "cif-files.zip"
_LONGEST_NAME = 80

LARGEST_UPLOADS = 20 * 10**9
"""Total size of all uploaded structures of a workspace [bytes], above which no more are stored."""

_FREE_BYTES = 10**9
"""Disk space [bytes] that uploads leave free, for the snapshots of running trainings."""


@dataclass(frozen=True)
class Upload:
    """Uploaded structures in the workspace."""

    folder: Path
    cifs: int
    others: tuple[str, ...]

    @property
    def words(self) -> str:
        """The files, as a safe text."""
        parts = [f"{self.cifs} CIF file{'s' if self.cifs > 1 else ''}"] if self.cifs else []
        return ", ".join([*parts, *self.others])


def keep_structures(files: Sequence[tuple[str, bytes]], workspace: Workspace) -> Upload:
    """Store uploaded structures in the workspace; the same files give the same upload.

    CIF files become members of one archive and keep their names; other files are stored under their digest. So no name
    of an uploaded file becomes a path.

    Raises:
        WorkspaceError: none of the files is of a kind that holds structures, or they cannot be written.
    """
    named = [(_bare_name(name), content) for name, content in files]
    unknown = [name for name, content in named if file_kind(PurePath(name)) is None or not content]
    if unknown or not named:
        msg = f"{', '.join(map(safe_text, unknown[:3])) or 'nothing'} cannot be used: expected files of "
        msg += f"structures that are not empty: {KINDS_IN_WORDS}"
        raise WorkspaceError(msg, code="E_WORKSPACE")
    digests = [f"{name}:{hashlib.sha256(content).hexdigest()}" for name, content in named]
    folder = workspace.uploads / hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:32]
    cifs = [(name, content) for name, content in named if name.lower().endswith(".cif")]
    others = [(name, content) for name, content in named if not name.lower().endswith(".cif")]
    upload = Upload(folder, len(cifs), tuple(safe_text(name) for name, _ in others))
    if folder.is_dir():
        return upload
    _check_room(workspace, sum(len(content) for _, content in named))
    part = folder.with_suffix(".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if cifs:
            with zipfile.ZipFile(part / CIFS, "w", zipfile.ZIP_DEFLATED) as archive:
                for number, (name, content) in enumerate(cifs):
                    archive.writestr(f"{number}/{name}", content)
        for name, content in others:
            (part / (hashlib.sha256(content).hexdigest()[:16] + _endings(name))).write_bytes(content)
        part.replace(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        msg = f"the uploaded files cannot be stored ({shorten(error)}); the disk may be full"
        raise WorkspaceError(msg, code="E_WORKSPACE") from error
    return upload


def is_upload(name: str) -> bool:
    """Whether this is the name of a folder of uploaded structures: a digest."""
    return re.fullmatch(r"[0-9a-f]{32}", name) is not None


def _check_room(workspace: Workspace, size: int) -> None:
    """Check that an upload leaves enough disk space.

    Raises:
        WorkspaceError: it does not, or the uploads of the workspace would become too large.
    """
    stored = sum(path.stat().st_size for path in workspace.uploads.glob("*/*") if path.is_file())
    if stored + size > LARGEST_UPLOADS:
        msg = f"the uploads of this server have {stored / 1e9:.1f} GB and may have {LARGEST_UPLOADS / 1e9:.0f} GB: "
        msg += f"delete folders in {workspace.uploads} that are not needed any more"
        raise WorkspaceError(msg, code="E_DISK")
    free = shutil.disk_usage(workspace.uploads).free
    if free - size < _FREE_BYTES:
        msg = f"the uploaded files have {size / 1e6:.0f} MB, and {workspace.uploads} has {free / 1e9:.1f} GB left, of "
        msg += f"which {_FREE_BYTES / 1e9:.0f} GB are kept free"
        raise WorkspaceError(msg, code="E_DISK")


def _bare_name(name: str) -> str:
    """The name without folders and unprintable characters, shortened but for its ending."""
    bare = shorten(name.replace("\\", "/").rpartition("/")[2], limit=10_000).strip()
    return bare if len(bare) <= _LONGEST_NAME else bare[: _LONGEST_NAME - 20] + "…" + bare[-19:]


def _endings(name: str) -> str:
    """The file type: `.json.gz` for `x.json.gz`."""
    path = PurePath(name.lower())
    return path.suffix if path.suffix not in {".gz", ".bz2", ".xz"} else PurePath(path.stem).suffix + path.suffix
