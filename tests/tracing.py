"""Which modules of a package take part in a call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def modules_entered(call: Callable[[], object], *, package: str) -> list[str]:
    """Modules of a package in which a function is entered during `call`, in the order of their first one.

    Call it once before, so that imports and first-time set-up are not counted.
    """
    modules: dict[str, None] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        module = str(frame.f_globals.get("__name__"))
        if event == "call" and (module == package or module.startswith(f"{package}.")):
            modules[module] = None

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(previous)
    return list(modules)
