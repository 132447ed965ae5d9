"""The files of a watched folder, and which of them are whole: no longer written, and not answered yet."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xxact_core.watch_folder.ledger import FileState, Ledger

UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".swp", ".lock", "~")
"""Endings of names that programs give to files while they write them; such files are left alone."""

PATIENCE = 5.0
"""Factor by which a file that is empty or cannot be read is waited for longer than others. Ours."""


@dataclass(frozen=True)
class WholeFile:
    """A file that has not changed for a while, and has no answer in its present state."""

    file: str
    """Path relative to the watched folder, with `/`."""
    path: Path
    state: FileState
    quiet: float
    """Time for which it has not changed [s]."""


@dataclass
class _Seen:
    """What is known of a file that has no answer in its present state."""

    state: FileState
    since: float
    """Monotonic time at which this state was seen first."""


class WatchedFiles:
    """Looks through a folder, again and again.

    Times of changes are only compared with each other, never with the clock of this machine, which another machine that
    writes to a network drive need not share. Symbolic links are not followed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pattern: str = "*",
        recursive: bool = False,
        settle: float = 2.0,
        leave_out: Path | None = None,
        again: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `folder` for files whose names match `pattern`.

        Args:
            folder: to watch.
            pattern: of file names, such as `*.xy`.
            recursive: also watch folders in it.
            settle: time for which a file must not change [s].
            leave_out: a folder inside that is not watched.
            again: whether files that could not be opened are tried again once they may be read.
            clock: monotonic time [s].
        """
        self.folder, self.pattern, self.recursive, self.settle = folder, pattern, recursive, settle
        self._leave_out = None if leave_out is None else leave_out.resolve()
        self._again, self._clock = again, clock
        self._seen: dict[str, _Seen] = {}
        self.closed: set[Path] = set()
        """Folders inside that could not be read when they were looked at last."""

    @property
    def waiting(self) -> int:
        """Number of files that have no answer in the state in which they were seen last."""
        return len(self._seen)

    def look(self, ledger: Ledger) -> list[WholeFile]:
        """The files that are whole, in the order in which they were changed.

        Raises:
            OSError: the folder is gone, or cannot be read.
        """
        now = self._clock()
        found: dict[str, tuple[Path, FileState]] = {}
        for path, status in self._files():
            found[path.relative_to(self.folder).as_posix()] = (path, FileState.of(status))
        whole = []
        for file in self._seen.keys() - found.keys():
            del self._seen[file]
        for file, (path, state) in found.items():
            known = ledger.answered.get(file)
            closed = known is not None and not known.sha256 and self._again and os.access(path, os.R_OK)
            if known is not None and known.state == state and not closed:
                self._seen.pop(file, None)
                continue
            seen = self._seen.get(file)
            if seen is None or seen.state != state:
                seen = self._seen[file] = _Seen(state, now)
            quiet = now - seen.since
            if quiet >= self.settle * (PATIENCE if state.size == 0 else 1.0):
                whole.append(WholeFile(file, path, state, quiet))
        return sorted(whole, key=lambda one: (one.state.mtime_ns, one.file))

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        folders = [self.folder]
        self.closed.clear()
        while folders:
            here = folders.pop()
            try:
                entries = list(os.scandir(here))
            except OSError as error:
                if here == self.folder:
                    raise
                if not isinstance(error, FileNotFoundError):  # it has just gone
                    self.closed.add(here)
                continue
            for entry in entries:
                if entry.name.startswith((".", "~$")) or entry.name.lower().endswith(UNFINISHED):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if self.recursive and Path(entry.path).resolve() != self._leave_out:
                            folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False) and fnmatch.fnmatch(entry.name, self.pattern):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it has just gone
