"""Totals of one column of a CSV by another: CSV on standard input, JSON on standard output."""

import csv
import json
import sys
from decimal import Decimal, InvalidOperation

by, column = sys.argv[1:]
rows = csv.DictReader(sys.stdin)
missing = {by, column} - set(rows.fieldnames or ())
if missing:
    sys.exit(f"the CSV has no column {', '.join(sorted(missing))}")

groups: dict[str, Decimal] = {}
count = 0
for row in rows:
    count += 1
    try:
        amount = Decimal(row[column] or "0")
    except InvalidOperation:
        sys.exit(f"line {rows.line_num}: {column} is {row[column]!r}, not a number")
    groups[row[by]] = groups.get(row[by], Decimal()) + amount

report = {
    "rows": count,
    "total": float(sum(groups.values())),
    "groups": {name: float(amount) for name, amount in sorted(groups.items())},
}
json.dump(report, sys.stdout)
