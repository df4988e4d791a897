"""The report as files: one HTML page that needs nothing else, CSV and JSON of the same numbers.

Does: choose what is shown first, write it. Does not: compute a number (report_data.py). No script, no network, nothing unescaped.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rowhouse.usage.costs import PARTS
from rowhouse.usage.report_charts import days_chart, money_chart

__all__ = ["report_csv", "report_html"]

_NEAREST: Final = 15
_ALL: Final = 40
"""So many tenants are shown at once; of more, those with the lowest margin, and all of them folded."""
_LOWEST: Final = 15
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def report_html(document: Mapping[str, Any]) -> str:
    """The page of what `report_data` gave."""
    environment = Environment(
        loader=PackageLoader("rowhouse.usage"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": _duration,
        "instant": _instant,
        "money": _money,
        "month": _month,
        "number": _number,
        "minus": lambda text: str(text).replace("-", "\N{MINUS SIGN}"),
        "quantity": _quantity,
        "words": lambda text: str(text).replace("_gb", "").replace("_", " "),
    }
    limited = [
        (row, use)
        for row in document["tenants"]
        for use in row["uses"]
        if use["percent"] and (use["included"] != "0" or use["beyond"] == "refuse")
    ]
    limited.sort(key=lambda pair: (-pair[1]["percent"], pair[0]["tenant"], pair[1]["meter"]))
    tenants = document["tenants"]
    by_margin = sorted(tenants, key=lambda row: (Decimal(row["margin"] or 0), row["tenant"]))
    return environment.get_template(
        "report.html"
    ).render(
        d=document,
        charts={
            "days": Markup(days_chart(document["days"])) if document["days"] else "",  # noqa: S704 - drawn here, texts escaped there
            "money": Markup(money_chart(document["plans"], document["currency"])) if document["plans"] else "",  # noqa: S704
        },
        near=limited[:_NEAREST],
        near_all=len(limited),
        lowest=tenants if len(tenants) <= _ALL else by_margin[:_LOWEST],
        parts=PARTS,
    )


def report_csv(document: Mapping[str, Any]) -> str:
    """One line a tenant and meter, and a line with an empty meter for the tenant itself.

    A cell that a spreadsheet would take for a formula is written as text.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    own = ("tenant", "plan", "currency", "revenue", *(f"cost_{part}" for part in (*PARTS, "total")), "margin")
    hours = ("running_hours", "inferred_hours", "unknown_hours", "instances")
    use = ("used", "unit", "per", "included", "percent", "warning", "billed", "refused", "amount")
    writer.writerow(["period", *own, *hours, "meter", *use])
    for row in document["tenants"]:
        money = [
            row["tenant"],
            row["plan"],
            row["currency"],
            row["revenue"],
            *(row["cost"][part] for part in (*PARTS, "total")),
            row["margin"],
        ]
        writer.writerow(map(_cell, [document["period"], *money, *(row[name] for name in hours), "", *([None] * len(use))]))
        for each in row["uses"]:
            empty = [None] * (len(own) - 3 + len(hours))
            writer.writerow(
                map(
                    _cell,
                    [document["period"], row["tenant"], row["plan"], row["currency"], *empty, each["meter"], *(each[name] for name in use)],
                )
            )
    return out.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    is_number = text.replace("-", "", 1).replace(".", "", 1).isdigit()
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text


def _number(value: Any) -> str:
    """With thin separators from five digits on, and two decimals at most."""
    if value is None:
        return "unlimited"
    number = Decimal(str(value))
    text = f"{number.quantize(Decimal('0.01')):f}" if number != number.to_integral_value() else f"{number:.0f}"
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    grouped = f"{int(whole):,}" if abs(int(whole)) >= 10_000 else whole
    return f"{grouped}.{part}" if part else grouped


def _quantity(value: Any, unit: str) -> str:
    """What can be divided with one decimal, what is counted without: so numbers stand below each other."""
    if value is None:
        return "unlimited"
    number = Decimal(str(value))
    decimals = 0 if unit not in {"hour", "GB-month", "minute", "second"} else 2 if 0 < number < Decimal("0.05") else 1
    return f"{number:,.{decimals}f}" if abs(number) >= 10_000 else f"{number:.{decimals}f}"


def _money(value: Any) -> str:
    return f"{Decimal(str(value)):,.2f}".replace("-", "\N{MINUS SIGN}")


def _instant(text: str) -> str:
    """`21 Nov 2026, 07:00Z`."""
    moment = datetime.fromisoformat(text)
    return f"{moment.day} {moment:%b %Y, %H:%M}Z"


def _month(text: str) -> str:
    return f"{datetime.fromisoformat(text + '-01'):%B %Y}"


def _duration(seconds: int) -> str:
    """`3 h 20 min`, `45 s`."""
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{_number(hours)} h {minutes} min" if minutes else f"{_number(hours)} h"
    return f"{minutes} min" if minutes else f"{seconds} s"
