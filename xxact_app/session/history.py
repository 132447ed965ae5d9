"""Undo and redo of settings, one user action at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import param

from xxact_app.session.sample_choices import SAMPLE_FIELDS, SampleChoices, differing_fields
from xxact_app.session.session import Session

MOST_STEPS = 100
MOST_BYTES = 256 * 2**20
"""Limits of the history: number of steps, and memory [bytes] that only they hold (removed files, long selections)."""

PAUSE = 1.0
"""Time [s] within which repeated changes of a number, as by dragging a slider, count as one action."""

NOT_UNDONE = frozenset({"name", "screen", "dark", "editing", "dismissed", "compared"})
"""Settings that are not undone: theme, open screen, open editor, dismissed messages, and compared runs."""

_WORDS = {
    "visible": "patterns shown", "chosen": "choice of pattern", "draft_formula": "formula",
    "override_coverage": "prediction of a short scan", "masked": "masked windows", "map_selected": "selection",
    "may": "elements", "one_of": "elements", "never": "elements", "use_guess": "guessed elements",
}  # fmt: skip
_BYTES_OF_A_NUMBER = 36


@dataclass
class _Step:
    """The settings after an action and the names of those it changed; values are replaced, never changed in place."""

    values: dict[str, Any]
    changed: tuple[str, ...] = ()


class History(param.Parameterized):
    """The undo history of a session; one action is one step, however many settings it changed.

    later: calls a function once the present action is over; what changes until then belongs together.
    size: bytes of the files with these keys. keep: called with all keys of files that a step still needs.
    """

    can_undo = param.Boolean(default=False, constant=True)
    can_redo = param.Boolean(default=False, constant=True)

    def __init__(
        self,
        session: Session,
        *,
        later: Callable[[Callable[[], None]], object] = lambda settle: settle(),
        size: Callable[[Collection[str]], int] = lambda _keys: 0,
        keep: Callable[[Iterable[str]], None] = lambda _keys: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.session = session
        self._later, self._size, self._keep, self._clock = later, size, keep, clock
        # The samples come first, so that they exist before anything that refers to them is drawn.
        names = [name for name in session.param if name not in NOT_UNDONE]
        self._names = sorted(names, key=lambda name: name != "samples")
        self._steps = [_Step(self._present())]
        self._place = 0
        self._waiting = self._moving = False
        self._changed_at = float("-inf")
        session.param.watch(self._notice, self._names)

    def undo(self) -> str:
        """Undo the last action; returns its description, empty where there is none."""
        self.settle()
        if not self.can_undo:
            return ""
        undone = self._steps[self._place]
        self._move_to(self._place - 1)
        return self._words(undone)

    def redo(self) -> str:
        """Redo the last undone action; returns its description, empty where there is none."""
        self.settle()
        if not self.can_redo:
            return ""
        self._move_to(self._place + 1)
        return self._words(self._steps[self._place])

    def settle(self) -> None:
        """End the current action: changes since the last one become a step."""
        self._waiting = False
        present, last = self._present(), self._steps[self._place]
        changed = _changed(last.values, present, self._names)
        if not changed:
            return
        now = self._clock()
        goes_on = now - self._changed_at < PAUSE and self._place == len(self._steps) - 1 and changed == last.changed
        self._changed_at = now
        del self._steps[self._place + 1 :]
        if goes_on and all(
            present[name] == last.values[name] or _differ_in_numbers(present[name], last.values[name])
            for name in self._names
        ):
            last.values = present
            if present == self._steps[self._place - 1].values:
                del self._steps[self._place]
        else:
            self._steps.append(_Step(present, changed))
        self._place = len(self._steps) - 1
        self._stay_small()
        self._update_flags()

    def _notice(self, *_events: param.parameterized.Event) -> None:
        if not self._waiting and not self._moving:
            self._waiting = True
            self._later(self.settle)

    def _present(self) -> dict[str, Any]:
        return {name: getattr(self.session, name) for name in self._names}

    def _move_to(self, place: int) -> None:
        self._moving, self._place, self._changed_at = True, place, float("-inf")
        try:
            self.session.param.update(**self._steps[place].values)
        finally:
            self._moving = False
        # Changes that the screens make in response are part of the same step.
        self._steps[place].values = self._present()
        self._update_flags()

    def _stay_small(self) -> None:
        """Drop the oldest steps beyond the limits."""
        while len(self._steps) > 1 and (len(self._steps) > MOST_STEPS + 1 or self._kept_bytes() > MOST_BYTES):
            del self._steps[0]
        self._place = len(self._steps) - 1
        self._keep(dict.fromkeys(key for step in self._steps for key in step.values["samples"]))

    def _kept_bytes(self) -> int:
        *earlier, last = (step.values for step in self._steps)
        removed = {key for values in earlier for key in values["samples"]} - set(last["samples"])
        selections = {id(values["map_selected"]): len(values["map_selected"]) for values in earlier}
        return self._size(removed) + _BYTES_OF_A_NUMBER * sum(selections.values())

    def _update_flags(self) -> None:
        with param.edit_constant(self):
            self.param.update(can_undo=self._place > 0, can_redo=self._place < len(self._steps) - 1)

    def _words(self, step: _Step) -> str:
        name = step.changed[0]
        if name in _WORDS or name not in self.session.param:
            return _WORDS.get(name, name)
        return str(self.session.param[name].label).lower()


def _changed(before: dict[str, Any], after: dict[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """Names of the parameters that differ; for the samples, `files` and the fields of their records."""
    of_samples = differing_fields(before["samples"], after["samples"])
    others = [name for name in names if name != "samples" and before[name] != after[name]]
    return (*(name for name in ("files", *SAMPLE_FIELDS) if name in of_samples), *others)


def _differ_in_numbers(one: object, other: object) -> bool:
    """Whether two values differ in numbers only."""
    if isinstance(one, SampleChoices) and isinstance(other, SampleChoices):
        return _differ_in_numbers(vars(one), vars(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_differ_in_numbers(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_differ_in_numbers, one, other))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers or one == other
