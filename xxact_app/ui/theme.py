"""Colours for light and dark themes, safe for colour-blind users, and style sheets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bokeh.themes import Theme


@dataclass(frozen=True)
class Palette:
    """Colours of one theme; `series` can be distinguished with all common colour vision deficiencies.

    Source of the series: Okabe and Ito (2008), https://jfly.uni-koeln.de/color/; its yellow, unreadable on white, and
    its black, unreadable on dark, are replaced by a violet and a grey, and the blues lightened in the dark.
    """

    series: tuple[str, ...]
    muted: str
    accent: str
    uncertain: str
    text: str
    window: str


LIGHT = Palette(
    series=("#0072B2", "#D55E00", "#009E73", "#B5488A", "#C98500", "#3B9BD0", "#6A51A3", "#5F5F5F"),
    muted="#6B7280",
    accent="#0072B2",
    uncertain="#8A8F98",
    text="#1F2933",
    window="#5B6B7F",
)
DARK = Palette(
    series=("#56B4E9", "#F28C38", "#2BC79B", "#E79AC6", "#F0C93A", "#8CCBF2", "#B9A5E8", "#C9CDD2"),
    muted="#A3ACB9",
    accent="#56B4E9",
    uncertain="#8E97A3",
    text="#E6E8EB",
    window="#93A1B3",
)


def palette(*, dark: bool) -> Palette:
    """The colours of the dark or of the light theme."""
    return DARK if dark else LIGHT


_FONT = '"Roboto", "Helvetica", "Arial", sans-serif'
"""Font of Material UI."""

_TYPOGRAPHY = {"button": {"textTransform": "none"}}  # θ and q keep their case
_COMPONENTS = {
    # Focus ring inside the element in its text colour: visible on every background, never cut off.
    "MuiButtonBase": {
        "styleOverrides": {
            "root": {"&.Mui-focusVisible": {"outline": "3px solid currentColor", "outlineOffset": "-3px"}}
        }
    },
    # Menus open and close at once: what was chosen counts more than how the list moves.
    "MuiMenu": {"defaultProps": {"transitionDuration": 0}},
    # Centre the label of a small select without a value.
    "MuiFormControl": {
        "styleOverrides": {
            "root": {
                "&:has(> .MuiSelect-root.MuiInputBase-sizeSmall) > .MuiInputLabel-root:not(.MuiInputLabel-shrink)": {
                    "transform": "translate(14px, 6px) scale(1)"
                }
            }
        }
    },
}

MATERIAL_THEME: dict[str, dict[str, Any]] = {
    "light": {
        "typography": _TYPOGRAPHY,
        "components": _COMPONENTS,
        "palette": {
            "primary": {"main": "#005A8D"},
            "background": {"default": "#F5F7FA", "paper": "#FFFFFF"},
        },
    },
    "dark": {
        "typography": _TYPOGRAPHY,
        "components": _COMPONENTS,
        "palette": {
            "primary": {"main": "#56B4E9", "contrastText": "#06121B"},
            "background": {"default": "#10151B", "paper": "#171D25"},
        },
    },
}
"""Overrides of Material UI's theme; the header keeps a dark blue in both."""

HEADER_COLOUR = "#00446B"


@cache
def figure_theme(*, dark: bool) -> Theme:
    """The looks that the page gives to figures, for their models on the server.

    The page sets them one by one in every new figure, redraws it each time, and reports each change to the server.
    Nothing is left to set where a figure has these looks when it arrives.

    Source: `apply_bokeh_theme` in `utils.js` of panel-material-ui 0.16, with the palettes of `MATERIAL_THEME`.
    """
    ink = "255, 255, 255" if dark else "0, 0, 0"
    text, muted = ("#fff", "rgba(255, 255, 255, 0.7)") if dark else ("rgba(0, 0, 0, 0.87)", "rgba(0, 0, 0, 0.6)")
    paper = MATERIAL_THEME["dark" if dark else "light"]["palette"]["background"]["paper"]
    line = f"rgba({ink}, {0.28 if dark else 0.22})"

    def font(prefix: str, colour: str, size: str) -> dict[str, str]:
        values = {"color": colour, "font": _FONT, "font_size": size, "font_style": "normal"}
        return {f"{prefix}_{name}": value for name, value in values.items()}

    ticks = ("axis_line", "major_tick_line", "minor_tick_line")
    axis = {f"{name}_color": line for name in ticks} | {f"{name}_alpha": 0 for name in ticks}
    return Theme(
        json={
            "attrs": {
                "Axis": {
                    **axis, **font("major_label_text", muted, "0.925em"), **font("axis_label_text", text, "1em"),
                    "axis_label_standoff": 12,
                },
                "Title": font("text", text, "1.05em"),
                "Grid": {"grid_line_color": f"rgba({ink}, {0.12 if dark else 0.1})", "grid_line_alpha": 1},
                "Plot": {
                    "background_fill_color": paper, "border_fill_color": paper, "outline_line_color": text,
                    "outline_line_alpha": 0.25 if dark else 0,
                },
                "ColorBar": {
                    "background_fill_color": paper, "background_fill_alpha": 0, "major_tick_line_alpha": 0,
                    "minor_tick_line_alpha": 0, "bar_line_alpha": 0, **font("title_text", text, "0.95em"),
                    **font("major_label_text", muted, "0.9em"),
                },
                "Legend": {
                    "background_fill_color": paper, "border_line_alpha": 0, "background_fill_alpha": 0,
                    **font("label_text", text, "0.95em"), **font("title_text", muted, "0.95em"), "spacing": 8,
                    "label_standoff": 8, "glyph_width": 14, "glyph_height": 14,
                },
            }
        }
    )  # fmt: skip


PAGE_CSS = """
body { font-synthesis-weight: none; }
"""

PROGRESS_STYLE = {
    "height": 6,
    "borderRadius": 3,
    "backgroundColor": "color-mix(in srgb, var(--panel-on-background-color, gray) 18%, transparent)",
}
"""Style of progress bars: a grey track, since the light blue one of the theme looks like a full bar at 0 %."""

ALERT_STYLE = {
    "alignItems": "center",
    "py": 0.25,
    "& p": {"margin": 0},
    "& .MuiAlert-icon": {"padding": "6px 0"},
    "& .MuiAlert-message": {"padding": "6px 0", "minWidth": 0, "overflowWrap": "anywhere"},
    "& .MuiAlert-action": {"padding": "0 0 0 16px"},
}

TEXT_CSS = """
:host { color: var(--panel-on-background-color); font-family: var(--bokeh-base-font, sans-serif); font-size: 14px;
  line-height: 1.5; }
h2 { font-size: 1.25rem; font-weight: 600; line-height: 1.3; margin: 0; }
h3 { font-size: 1rem; font-weight: 600; line-height: 1.3; margin: 0; }
p { margin: 0 0 4px; }
ul { margin: 4px 0 0; padding-left: 1.2em; }
.muted { opacity: 0.78; }
.verdict { font-size: 1.25rem; line-height: 1.35; }
.figures { display: flex; flex-wrap: wrap; gap: 12px; }
.figure { border: 1px solid var(--border-color); border-radius: 8px; padding: 10px 16px; min-width: 180px; flex: 1; }
.figure b { display: block; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 16px 2px 0; text-align: left; font-weight: 400; }
thead th { font-weight: 600; }
td:last-child, th:last-child { text-align: right; padding-right: 0; }
.wrong { font-weight: 600; }
.wrong::before { content: "⚠ "; }
summary { cursor: pointer; }
code { font-family: ui-monospace, monospace; }
"""
"""Styles of HTML panes, in the colours of the Material UI theme."""

CHOICE_CSS = ".MuiFormLabel-root { font-size: 12px !important; } button { white-space: nowrap; }"
"""Small labels above button groups, without line breaks in buttons."""

NARROW = 900
"""Page width [px] below which the columns of a screen are stacked."""


def grid_css(
    columns: str, areas: tuple[str, ...], *, narrow: tuple[str, ...], gap: str = "16px", padding: str = "16px"
) -> str:
    """Style sheet of a grid layout whose children have `area-…` classes; one column on narrow pages."""
    names = dict.fromkeys(name for row in areas for name in row.split())
    placed = "\n".join(f".area-{name} {{ grid-area: {name}; min-width: 0; }}" for name in names)

    def rows(lines: tuple[str, ...]) -> str:
        return " ".join(f'"{line}"' for line in lines)

    return f"""
:host {{ display: grid; grid-template-columns: {columns}; grid-template-areas: {rows(areas)};
  gap: {gap}; padding: {padding}; align-items: start; box-sizing: border-box; }}
{placed}
@media (max-width: {NARROW}px) {{
  :host {{ grid-template-columns: minmax(0, 1fr); grid-template-areas: {rows(narrow)}; padding: 8px; gap: 10px; }}
}}
"""
