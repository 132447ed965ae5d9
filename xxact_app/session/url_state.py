"""Settings of the view in the page address; never content of files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlencode

import param

from xxact_app.session.session import FORMER_SCREENS, Session
from xxact_app.ui.safe_text import safe_text

IN_ADDRESS = (
    "screen", "axis", "scale", "stage", "arrangement", "show_background", "show_windows", "model",
    "reconstruction_model", "map_models", "map_materials", "map_part", "map_projection", "map_colour",
)  # fmt: skip
"""Settings in the page address, in the order in which they are applied."""

_LONGEST = 100
_MOST_VALUES = 8
_MOST_LISTED = 5


def session_to_query(session: Session) -> str:
    """The settings that differ from the defaults, as the query of an address."""
    pairs: list[tuple[str, str]] = []
    for name in IN_ADDRESS:
        value = getattr(session, name)
        if value != session.param[name].default:
            pairs += [(name, _to_text(part)) for part in (value if isinstance(value, list) else [value])]
    return urlencode(pairs)


def query_to_session(
    arguments: Mapping[str, Sequence[bytes]],
    session: Session,
    *,
    offered: Mapping[str, Callable[[], Collection[str] | Mapping[str, str]]],
) -> str:
    """Apply settings from the arguments of an address; returns a message about refused ones, or an empty text.

    Nothing in an address is trusted: values are bounded, and taken only where the choice has them. Arguments of other
    names are ignored.

    Args:
        arguments: of the address.
        session: gets the choices.
        offered: by name of a choice, its values where the session does not list them, or the value for each text.
    """
    refused: list[str] = []
    for name in IN_ADDRESS:
        given = [_decoded(value) for value in arguments.get(name, ())[: _MOST_VALUES + 1]]
        if not given:
            continue
        known = _choices(session.param[name], offered.get(name))
        if name == "screen":
            known |= FORMER_SCREENS
        if len(given) > _MOST_VALUES or any(value not in known for value in given):
            refused.append(f"{name}={safe_text(','.join(given), limit=40)}")
        elif isinstance(session.param[name], param.List):
            setattr(session, name, [known[value] for value in given])
        else:
            setattr(session, name, known[given[-1]])
    if not refused:
        return ""
    more = f" and {len(refused) - _MOST_LISTED} more" if len(refused) > _MOST_LISTED else ""
    return f"Unknown settings in the address were ignored: {'; '.join(refused[:_MOST_LISTED])}{more}."


def _choices(
    parameter: param.Parameter, offered: Callable[[], Collection[str] | Mapping[str, str]] | None
) -> dict[str, object]:
    """The values of a setting, by their text in an address."""
    if isinstance(parameter, param.Boolean):
        return {"yes": True, "no": False}
    values = parameter.objects if isinstance(parameter, param.Selector) else offered() if offered is not None else ()
    return dict(values) if isinstance(values, Mapping) else {str(value): value for value in values}


def _to_text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")[: _LONGEST + 1]
