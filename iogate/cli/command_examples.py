"""Examples of the commands, which `--help` shows at its end.

Read by `app`. Invariant: each command has one, and each example is a valid command line; the page of commands
has the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "activity": ("iogate activity --since 24h --action runs",),
    "api call": (
        'iogate api call orders/submit --input \'{"sku": "A-1"}\' --wait',
        """iogate api call receipts/add --input '{"order": 7}' --file scan=receipt.png""",
    ),
    "api list": ("iogate api list",),
    "api show": ("iogate api show orders/submit",),
    "apply": (
        "iogate apply --yes --prune",
        'iogate apply --profile prod -m "new prices"',
    ),
    "batches continue": ("iogate batches continue 3f9c2a71b04d",),
    "batches list": ("iogate batches list --limit 5",),
    "batches show": ("iogate batches show 3f9c2a71b04d",),
    "batches stop": ("iogate batches stop 3f9c2a71b04d",),
    "bundle": ('iogate bundle --expect 42 --reason "new prices" > request.json',),
    "debug": (
        'iogate debug orders/submit --name "happy path"',
        'iogate debug orders/submit --all --profile prod --reason "after the deploy"',
    ),
    "diff": (
        "iogate diff 40 42",
        "iogate diff live files",
    ),
    "digests": ("iogate digests --unlisted",),
    "disable": (
        'iogate disable orders/submit --ttl 2h --reason "stocktaking"',
        'iogate disable --all --hold --reason "the payment provider charges twice"',
    ),
    "doctor": ("iogate doctor",),
    "drift": ("iogate drift -o json",),
    "enable": (
        "iogate enable orders/submit",
        "iogate enable --module payments --rate 50/s",
    ),
    "explain": ("iogate explain IOG101",),
    "export": (
        "iogate export 41 --to before",
        "iogate export --profile prod --to live",
    ),
    "fmt": (
        "iogate fmt --check",
        "iogate fmt - < apis.d/orders.yaml",
    ),
    "history": ("iogate history --limit 5",),
    "init": ("iogate init shop",),
    "lint": ("iogate lint --strict -o github",),
    "login": ("iogate login https://gateway.example.com --profile prod",),
    "logout": ("iogate logout --profile prod",),
    "new api": ("iogate new api tools/report --script report.py",),
    "new workflow": ("iogate new workflow shop/fulfil",),
    "override clear": ("iogate override clear --all",),
    "override list": ("iogate override list",),
    "plan": (
        "iogate plan --base origin/main -o markdown",
        "iogate plan --replay 200",
        "iogate plan --profile prod",
    ),
    "rollback": ("iogate rollback --yes",),
    "run": (
        "iogate run workflows.d/fulfil.yaml --input @order.json",
        'iogate run workflows.d/fulfil.yaml --event \'{"type": "com.example.paid", "data": {"amount": 7}}\'',
    ),
    "runs cancel": ("iogate runs cancel --api orders/submit --since 1h --yes",),
    "runs errors": ("iogate runs errors --since 1d",),
    "runs file": ("iogate runs file 912855358988292944 scan --out receipt.png",),
    "runs list": (
        "iogate runs list --status faulted,cancelled --since 1d",
        "iogate runs list --status faulted --json uid,error --jq '.[] | [.uid, .error.message] | @tsv'",
    ),
    "runs logs": ("iogate runs logs 912855358988292944 --follow",),
    "runs prune": ("iogate runs prune --before 2d --status completed --yes",),
    "runs redeliver": ("iogate runs redeliver 912855358988292944",),
    "runs resume": ("iogate runs resume 912855358988292944",),
    "runs retry": ("iogate runs retry 912855358988292944 --from /do/2/charge",),
    "runs show": (
        "iogate runs show 912855358988292944 --task charge",
        "iogate runs show @last",
    ),
    "runs stats": ("iogate runs stats --api orders/submit --since 2d --by hour",),
    "runs suspend": ("iogate runs suspend 912855358988292944",),
    "runs wait": ("iogate runs wait 912855358988292944 --timeout 1m",),
    "schedule disable": ('iogate schedule disable shop/report --ttl 2h --reason "stocktaking"',),
    "schedule enable": ("iogate schedule enable shop/report",),
    "schedule list": ("iogate schedule list",),
    "schedule run": ("iogate schedule run shop/report",),
    "schema": (
        "iogate schema api > api.schema.json",
        "iogate schema --write .iogate/schemas",
    ),
    "secret hash": ("iogate secret hash --password",),
    "secret new": ("iogate secret new",),
    "secret pair": ("iogate secret pair",),
    "serve": ("iogate serve --host 0.0.0.0 --gateways 4 --redis-url redis://store:6379/0",),
    "show": ("iogate show 41 -o json",),
    "status": (
        "iogate status -o json",
        "iogate status --watch",
    ),
    "store adopt": ("iogate store adopt --trust-all",),
    "store drain": ("iogate store drain --for 2m",),
    "store resume": ("iogate store resume",),
    "test": ("iogate test -o junit > report.xml",),
    "up": ("iogate up --watch --port 8080",),
    "validate": ("iogate validate apis.d/orders.yaml -o json",),
    "watch": ("iogate watch --git https://git.example.com/shop.git --ref main --prune",),
    "worker": ("iogate worker --workers 4 --redis-url redis://store:6379/0",),
    "workflow list": ("iogate workflow list",),
    "workflow show": ("iogate workflow show shop/fulfil",),
}
"""Command lines by the name of the command."""


def add_examples(command: Any, name: str = "", *, on_terminal: bool) -> None:
    """Add the examples to the help of a command, or of all commands of a group.

    `on_terminal`: Rich formats the help, and takes each paragraph for a line; otherwise Click does, and joins
    no lines behind a backspace.
    """
    for each, found in getattr(command, "commands", {}).items():
        add_examples(found, f"{name} {each}".strip(), on_terminal=on_terminal)
    if name in EXAMPLES:
        lines = ("Examples:", *(f"  {line}" for line in EXAMPLES[name]))
        command.epilog = "\n\n".join(lines) if on_terminal else "\n".join(("\b", *lines))
