"""Each guard against harmful or damaged files is needed: without it, a test fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from locations import REPOSITORY

LARGE = ("data", "weights")
"""Folders of the package that are linked, not copied."""


@dataclass(frozen=True)
class Guard:
    """A condition in the code, what it becomes when the guard is removed, and the tests that must notice."""

    file: str
    condition: str
    without: str
    tests: str

    @property
    def name(self) -> str:
        """Name of the guard in the list of tests."""
        return f"{Path(self.file).stem}: {self.condition.strip()[:50]}"


CONTENT, CONTENT_TESTS = "xxact_core/readers/content.py", "core/readers/test_content.py"
HDF5, HDF5_TESTS = "xxact_core/plain_hdf5.py", "core/sandbox/test_plain_hdf5.py"
CHECKPOINT, CHECKPOINT_TESTS = "xxact_core/checkpoint.py", "core/test_checkpoint.py"
SNAPSHOTS, RUN_FOLDER = "xxact_core/training/snapshots.py", "xxact_core/training/run_folder.py"
RECOVERY_TESTS = "core/training/test_recovery.py"
UPLOADS, WORKSPACE = "xxact_app/library/structure_uploads.py", "xxact_app/library/workspace.py"
WORKSPACE_TESTS = "app/library/test_workspace.py"
DROP, DROP_TESTS = "xxact_app/ui/file_drop.py", "app/page/test_upload_strip.py"
SANDBOX_TESTS = "core/sandbox/test_read_untrusted.py"

GUARDS = (
    # zip archives
    Guard(CONTENT, "if len(entries) > MAX_MEMBERS:", "if False:", CONTENT_TESTS),
    Guard(CONTENT, "if len(set(names)) != len(names):", "if False:", CONTENT_TESTS),
    Guard(CONTENT, 'if "\\0" in path or path.startswith("/")', 'if False and path.startswith("/")', CONTENT_TESTS),
    Guard(CONTENT, '"\\0" in path or ', "", CONTENT_TESTS),
    Guard(CONTENT, 'path.startswith("/") or ', "", CONTENT_TESTS),
    Guard(CONTENT, '":" in path or ', "", CONTENT_TESTS),
    Guard(CONTENT, ' or ".." in path.split("/")', "", CONTENT_TESTS),
    Guard(CONTENT, "if stat.S_ISLNK(entry.external_attr >> 16):", "if False:", CONTENT_TESTS),
    Guard(CONTENT, "if entry.flag_bits & 1:", "if False:", CONTENT_TESTS),
    Guard(CONTENT, "if entry.header_offset < end:", "if False:", CONTENT_TESTS),
    Guard(CONTENT, "if entry.file_size > _SMALL and entry.file_size > MAX", "if False and 0 > MAX", CONTENT_TESTS),
    Guard(CONTENT, "if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:", "if False:", CONTENT_TESTS),
    Guard(CONTENT, "if len(content) != entry.file_size or", "if False or", CONTENT_TESTS),
    Guard(CONTENT, 'if content.startswith(b"PK\\x03\\x04") and', "if False and", CONTENT_TESTS),
    # sizes and XML
    Guard(CONTENT, "    if size > MAX_BYTES:", "    if False:", CONTENT_TESTS),
    Guard(CONTENT, "if path.stat().st_size <= MAX_BYTES else b", "if True else b", CONTENT_TESTS),
    Guard(
        CONTENT,
        '    if found:\n        msg = f"{name}: the XML declares',
        '    if False:\n        msg = f"{name}: the XML declares',
        "core/readers/test_read.py::test_document_types_and_entities_are_refused_in_files_and_archives",
    ),
    # the sandbox
    Guard("xxact_core/sandbox/framing.py", "    limit_memory(max_memory)\n", "    pass\n", SANDBOX_TESTS),
    # HDF5
    Guard(HDF5, "            if item is None:", "            if False:", HDF5_TESTS),
    Guard(HDF5, "if item.is_virtual or item.external:", "if False:", HDF5_TESTS),
    Guard(HDF5, "    if unknown:", "    if False:", HDF5_TESTS),
    Guard(HDF5, "if size * item.dtype.itemsize > _MOST_EXPANDED", "if False and 0 > _MOST_EXPANDED", HDF5_TESTS),
    # checkpoints and runs
    Guard(CHECKPOINT, 'hexdigest() != description.get("weights_sha256")', "hexdigest() == 1", CHECKPOINT_TESTS),
    Guard(CHECKPOINT, "is_damaged(description, known=known)", '""', CHECKPOINT_TESTS),
    Guard(CHECKPOINT, "for problem in field_problems(described):", "for problem in ():", CHECKPOINT_TESTS),
    Guard(CHECKPOINT, "if not largest <= limit:", "if False:", CHECKPOINT_TESTS),
    Guard(CHECKPOINT, "        _check_size(config, weights)\n", "", CHECKPOINT_TESTS),
    Guard(SNAPSHOTS, "if digest != digests[name]:", "if False:", RECOVERY_TESTS),
    Guard(SNAPSHOTS, 'type(step) is not int or path.name != f"step-{step}"', "False", RECOVERY_TESTS),
    Guard(SNAPSHOTS, "if damaged or any(", "if False and any(", RECOVERY_TESTS),
    Guard(RUN_FOLDER, "if owner is None or owner.has_ended:", "if True:", RECOVERY_TESTS),
    Guard(RUN_FOLDER, "if not self.is_here:", "if False:", RECOVERY_TESTS),
    Guard(
        "xxact_core/training/journal.py", "separator and end.strip() != ", "False and end.strip() != ", RECOVERY_TESTS
    ),
    # the app
    Guard(DROP, "if size > self._largest_file:", "if False:", DROP_TESTS),
    Guard(DROP, "elif self._total > LARGEST_DROP:", "elif False:", DROP_TESTS),
    Guard(DROP, "isinstance(data, bytes | bytearray | memoryview)", "True", DROP_TESTS),
    Guard(UPLOADS, "if stored + size > LARGEST_UPLOADS:", "if False:", WORKSPACE_TESTS),
    Guard(UPLOADS, "if free - size < _FREE_BYTES:", "if False:", WORKSPACE_TESTS),
    Guard(WORKSPACE, "if not text.strip() or not self._is_inside(path):", "if not text.strip():", WORKSPACE_TESTS),
    Guard(WORKSPACE, "if not self._is_inside(link.resolve()):", "if False:", WORKSPACE_TESTS),
    Guard(
        "xxact_app/samples/store.py",
        "if size + sum(len(one.content) for one in held) > LARGEST_SESSION:",
        "if False:",
        "app/samples/test_samples_store.py::test_session_holds_so_many_bytes_and_samples",
    ),
    Guard(
        "xxact_app/jobs/registry.py",
        "waiting[: max(0, free)]",
        "waiting",
        "app/jobs/test_job_queue.py::test_of_twelve_trainings_two_run_and_ten_wait_in_their_order",
    ),
    # programs and agents
    Guard(
        "xxact_app/api/runs.py",
        "if isinstance(text, str) and to_url(text) is not None:",
        "if False:",
        "app/api/test_mcp.py::test_no_address_is_fetched_for_an_agent",
    ),
    Guard(
        "xxact_app/api/mcp_tools.py",
        "not path.is_relative_to(workspace.root) or ",
        "",
        "app/api/test_mcp.py::test_tools_write_to_new_folders_in_the_workspace_alone",
    ),
    Guard(
        "xxact_app/api/handlers.py",
        "Bytes.held + _JOBS.held + expected > MOST_BYTES",
        "Bytes.held + expected > MOST_BYTES",
        "app/api/test_http.py::test_the_files_of_jobs_count_until_they_are_answered",
    ),
    Guard(
        "xxact_app/server/api_guard.py",
        "if self.tokens.name_of(header) is not None:",
        "if header:",
        "app/server/test_api_server.py::test_wrong_tokens_are_tried_ten_times_a_minute_at_most",
    ),
    Guard(
        "xxact_core/dataset/table.py",
        "state is None or self._whole.get(number) != state",
        "number not in self._whole",
        "core/dataset/test_dataset.py::test_shard_that_changes_while_it_is_read_from_disk_is_refused",
    ),
    Guard(
        "xxact_core/processes.py",
        "> _SAME_START",
        "> 1e12",
        "app/jobs/test_jobs.py::test_a_number_that_another_program_has_by_now_is_never_signalled",
    ),
)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_guard_is_in_the_code_once(guard: Guard) -> None:
    assert (REPOSITORY / guard.file).read_text(encoding="utf-8").count(guard.condition) == 1
    assert (REPOSITORY / "tests" / guard.tests.partition("::")[0]).is_file()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with links to data and tests."""
    root = tmp_path_factory.mktemp("guards")
    for package in ("xxact_core", "xxact_app"):
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__", *LARGE))
    for name in LARGE:
        (root / "xxact_core" / name).symlink_to(REPOSITORY / "xxact_core" / name)
    for name in ("tests", "benchmarks", "pyproject.toml"):
        (root / name).symlink_to(REPOSITORY / name)
    return root


@pytest.mark.long
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_a_test_fails(copy: Path, guard: Guard) -> None:
    path = copy / guard.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(guard.condition, guard.without), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{guard.tests}"]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    finally:
        path.write_text(whole, encoding="utf-8")
    assert ended.returncode == 1, ended.stdout[-2000:]
    assert " failed" in ended.stdout
