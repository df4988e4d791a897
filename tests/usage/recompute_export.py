"""Run as a program of its own: every invoice of one month, from the files of an export and nothing else, as JSON.

    python recompute_export.py FOLDER CELL MONTH

It checks the files against their manifest first. `rowhouse` cannot be imported here.
"""

import datetime as dt
import hashlib
import json
import sys
from pathlib import Path

sys.modules["rowhouse"] = None  # whoever needs it fails

import duckdb  # noqa: E402
from recompute import invoices  # noqa: E402


def read(folder: Path, manifest: dict, table: str) -> list[dict]:
    """A table's rows, over all its files."""
    rows = []
    for name in sorted(manifest["files"]):
        if name.split("/")[0].removesuffix(".parquet") == table:
            found = duckdb.execute("SELECT * FROM read_parquet(?)", [str(folder / name)])
            names = [column[0] for column in found.description]
            rows += [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return rows


def main(root: str, cell: str, month: str) -> None:
    top = json.loads((Path(root) / "export" / cell / "manifest.json").read_bytes())
    folder = Path(root) / "export" / cell / month
    assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() == top["months"][month]
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, said in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == said["sha256"], name
    year, number = int(month[:4]), int(month[5:])
    edges = [dt.datetime(*parts, 1, tzinfo=dt.UTC) for parts in ((year, number), (year + number // 12, number % 12 + 1))]
    period = (int(edges[0].timestamp()) * 1000, int(edges[1].timestamp()) * 1000)
    names = ("plans", "usage_hours", "active_hours", "counter_hours", "credits")
    found = invoices(period, {name: read(folder, manifest, name) for name in names})
    told = {
        tenant: {
            "cents": invoice.cents,
            "lines": sorted([segment, meter, cents] for (segment, meter), cents in invoice.lines.items() if segment is not None)
            + sorted([None, meter, cents] for (segment, meter), cents in invoice.lines.items() if segment is None),
            "credits_left": invoice.credits_left,
            "refused": {meter: list(parts) for meter, parts in sorted(invoice.refused.items())},
        }
        for tenant, invoice in found.items()
    }
    json.dump(told, sys.stdout)


main(*sys.argv[1:])
