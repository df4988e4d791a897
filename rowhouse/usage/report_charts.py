"""The report's charts as static SVG: no script, no font of their own, colours that follow the page's light or dark.

Does: draw with Altair, turn into SVG on this machine. Does not: fetch anything, or know where the numbers are from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["days_chart", "money_chart"]

_COLOURS: Final = {
    "#010101": "var(--ink)",
    "#020202": "var(--quiet)",
    "#030303": "var(--line)",
    "#040404": "var(--use)",
    "#050505": "var(--guess)",
    "#060606": "var(--lost)",
    "#070707": "var(--cost)",
}
"""Altair wants colours; the page has names for them, which differ between light and dark."""
_INK, _QUIET, _LINE, _USE, _GUESS, _LOST, _COST = _COLOURS
_FONT: Final = "system-ui, sans-serif"
_SHOWN: Final = 12


def days_chart(days: Sequence[Mapping[str, str]]) -> str:
    """Hours of all instances by day: proven, inferred and unknown, one on the other."""
    import altair as alt  # a second to load, and only reports draw

    rows = [
        {"day": row["day"][8:], "hours": float(row[name]), "kind": name, "place": place}
        for row in days
        for place, name in enumerate(("running", "inferred", "unknown"))
    ]
    chart = (
        alt.Chart(alt.InlineData(rows), width=900, height=170, title=alt.Title("Hours of all instances, by day"))
        .mark_bar(width={"band": 0.72})
        .encode(
            x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("hours:Q", title=None, axis=alt.Axis(tickCount=4)),
            order=alt.Order("place:Q"),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=["running", "inferred", "unknown"], range=[_USE, _GUESS, _LOST]),
                legend=alt.Legend(title=None, orient="bottom", symbolType="square"),
            ),
        )
    )
    return _svg(chart, "Hours of all instances by day")


def money_chart(plans: Sequence[Mapping[str, Any]], currency: str) -> str:
    """What plans bring and what their tenants cost, the largest first."""
    import altair as alt

    own = [row for row in plans if row["currency"] == currency]
    shown = sorted(own, key=lambda row: (-float(row["revenue"]), row["plan"]))[:_SHOWN]
    rows = [{"plan": row["plan"], "amount": float(row[name]), "kind": name} for row in shown for name in ("revenue", "cost")]
    chart = (
        alt.Chart(
            alt.InlineData(rows), width=380, height=alt.Step(12), title=alt.Title(f"Revenue and vendor cost by plan, {currency.upper()}")
        )
        .mark_bar(height={"band": 0.9})
        .encode(
            y=alt.Y("plan:N", title=None, sort=[row["plan"] for row in shown], axis=alt.Axis(labelLimit=220, labelPadding=8)),
            yOffset=alt.YOffset("kind:N", sort=["revenue", "cost"]),
            x=alt.X("amount:Q", title=None, axis=alt.Axis(tickCount=5)),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=["revenue", "cost"], range=[_USE, _COST]),
                legend=alt.Legend(title=None, orient="bottom", symbolType="square"),
            ),
        )
    )
    return _svg(chart, "Revenue and vendor cost by plan")


def _svg(chart: Any, label: str) -> str:
    """The chart as an SVG element that takes the page's width and colours."""
    import vl_convert

    text = {"labelFont": _FONT, "titleFont": _FONT, "labelColor": _QUIET, "titleColor": _INK, "labelFontSize": 11}
    chart = (
        chart.configure(background="transparent", font=_FONT, padding={"left": 24, "right": 8, "top": 4, "bottom": 2})
        .configure_view(stroke=None)
        .configure_axis(**text, domain=False, ticks=False, gridColor=_LINE, gridWidth=1)
        .configure_axisX(grid=False)
        .configure_legend(labelFont=_FONT, labelColor=_QUIET, labelFontSize=11, offset=6)
        .configure_title(font=_FONT, fontSize=13, fontWeight="normal", color=_INK, anchor="start", offset=10)
    )
    svg = str(vl_convert.vegalite_to_svg(chart.to_json()))
    for colour, name in _COLOURS.items():
        svg = svg.replace(colour, name)
    width, height = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg).groups()  # type: ignore[union-attr]  # every SVG of theirs has them
    svg = re.sub(r'width="[\d.]+" height="[\d.]+"', f'style="max-width:{width}px" role="img" aria-label="{label}"', svg, count=1)
    return svg if "viewBox" in svg else svg.replace("<svg ", f'<svg viewBox="0 0 {width} {height}" ', 1)
