"""Models that give energies of structures, from which ours learns: a room that needs the extra `teacher`."""

from __future__ import annotations

from importlib.util import find_spec

from xxact_core.dataset.building.teacher import Teacher
from xxact_core.errors import InputError, InstallationError, shorten

TEACHERS = ("chgnet",)
"""Names of the teachers."""


def open_teacher(name: str) -> Teacher:
    """The teacher of a name.

    Raises:
        InputError: there is no such teacher (E_TEACHER).
        InstallationError: its library is not installed (E_TEACHER).
    """
    if name not in TEACHERS:
        msg = f"{shorten(name)!r} is not a teacher; choose from {', '.join(TEACHERS)}"
        raise InputError(msg, code="E_TEACHER")
    if find_spec("chgnet") is None:
        msg = 'the teacher chgnet is not installed: pip install "xxact[teacher]"'
        raise InstallationError(msg, code="E_TEACHER")
    from xxact_core.teachers.chgnet import ChgnetTeacher  # noqa: PLC0415 - an extra, and slow to import

    return ChgnetTeacher()
