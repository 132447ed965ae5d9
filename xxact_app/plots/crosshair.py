"""A crosshair whose position is written above the plot: 2θ, d, q, and the nearest reflection."""

from __future__ import annotations

from dataclasses import dataclass

from bokeh.events import MouseLeave, MouseMove
from bokeh.models import ColumnDataSource, CrosshairTool, CustomJS
from bokeh.plotting import figure

HINT = "Point at the plot to read 2θ, d, q, hkl"

_FOLLOW = """
const x = cb_obj.x
const axis = settings.data.axis[0], wavelength = settings.data.wavelength[0]
let d = NaN
if (axis == "d") d = x
else if (axis == "q") d = 2 * Math.PI / x
else if (wavelength > 0 && x > 0) d = wavelength / (2 * Math.sin(x * Math.PI / 360))
let angle = axis == "two_theta" ? x : NaN
if (axis != "two_theta" && wavelength > 0 && wavelength <= 2 * d)
  angle = 360 / Math.PI * Math.asin(wavelength / (2 * d))
const parts = []
if (isFinite(angle)) parts.push("2θ " + angle.toFixed(3) + "°")
if (isFinite(d) && d > 0) parts.push("d " + d.toFixed(4) + " Å", "q " + (2 * Math.PI / d).toFixed(4) + " Å⁻¹")
const places = lines.data.x
let nearest = -1
for (let i = 0; i < places.length; i++)
  if (nearest < 0 || Math.abs(places[i] - x) < Math.abs(places[nearest] - x)) nearest = i
if (nearest >= 0) {
  const hkl = lines.data.hkl[nearest]
  const unit = {two_theta: "°", q: " Å⁻¹", d: " Å"}[axis]
  parts.push("nearest: " + (hkl ? hkl + " of " : "") + lines.data.name[nearest]
    + " at " + places[nearest].toFixed(axis == "two_theta" ? 3 : 4) + unit)
}
readout.setv({text: parts.join("   ")}, {sync: false})  // without a message to the server
"""


@dataclass(frozen=True)
class Crosshair:
    """The settings of the readout: name of the horizontal axis, and the wavelength [Å] of its angles or NaN."""

    settings: ColumnDataSource


def add_crosshair(plot: figure, lines: ColumnDataSource) -> Crosshair:
    """Add a crosshair and a line of text above a plot, which the browser updates without the server.

    Args:
        plot: the figure; its title becomes the readout.
        lines: reflections with columns `x`, `hkl` and `name`, as in `ReflectionFigure.lines`.
    """
    settings = ColumnDataSource({"axis": ["two_theta"], "wavelength": [float("nan")]})
    plot.title.update(text=HINT, text_font_style="normal", text_font_size="12px", standoff=4)
    arguments = {"settings": settings, "lines": lines, "readout": plot.title}
    plot.js_on_event(MouseMove, CustomJS(args=arguments, code=_FOLLOW))
    leave = f"readout.setv({{text: {HINT!r}}}, {{sync: false}})"
    plot.js_on_event(MouseLeave, CustomJS(args={"readout": plot.title}, code=leave))
    plot.add_tools(CrosshairTool(dimensions="height", line_color="gray", line_alpha=0.6))
    return Crosshair(settings)


def set_crosshair(target: Crosshair, *, axis: str, wavelength: float | None) -> None:
    """Set the horizontal axis (`two_theta`, `q` or `d`) and the wavelength [Å] that its angles have."""
    target.settings.data = {"axis": [axis], "wavelength": [float("nan") if wavelength is None else wavelength]}
