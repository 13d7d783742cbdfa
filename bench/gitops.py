"""`python -m bench gitops`: seconds that `validate`, `plan` and `rollback` take for a large project.

The project has 1,000 APIs in 50 modules and 1,000 workflows of three tasks each: an HTTP call, a `set` and a
`switch`, with expressions and input schemas. The store has two revisions of it that differ in ten workflows:

    validate    all files of the project
    plan        the files, in which ten workflows differ, against the live revision
    rollback    to the revision before the live one, which publishes it as a new one

Prints the median of the rounds: seconds by the clock, and seconds of processor time. With `--other DIR`, a
checkout of another version in which `make setup` was run, both take turns, and their ratio is printed.
`--write DIR` only writes the project.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.site import Site, arguments_of, redis_server

MODULES, METHODS, WORKFLOWS = 50, 20, 1_000
CHANGED = 10
COMMANDS = {"validate": ["validate"], "plan": ["plan"], "rollback": ["rollback", "--yes"]}

HEAD = """\
module: module{number}
auth: {{token: {{env: BENCH_TOKEN}}}}
timeout: 1m
methods:
"""
METHOD = """\
  method{number}:
    description: Reserve an article of department {number}.
    workflow: large/flow{workflow}
    enabled: true
    tags: [department{module}]
    limits: {{rate: 50/s, burst: 100}}
    input:
      schema:
        type: object
        properties:
          sku: {{type: string, minLength: 1}}
          quantity: {{type: integer, minimum: 1, maximum: 1000}}
          note: {{type: string}}
        required: [sku]
    debug:
      - name: one article
        body: {{sku: A-{number}, quantity: 2}}
        expect: {{status: completed}}
        mocks:
          /do/0/reserve: {{output: {{price: 3}}}}
"""
WORKFLOW = """\
document:
  dsl: '1.0.3'
  namespace: large
  name: flow{number}
  version: '1.0.0'
  title: Reservation {number}
input:
  schema:
    document:
      type: object
      properties:
        sku: {{type: string}}
        quantity: {{type: integer, minimum: 1}}
        note: {{type: string}}
      required: [sku]
do:
  - reserve:
      call: http
      with:
        method: post
        endpoint: https://stock.example.com/departments/{number}/reservations
        headers: {{X-Department: department{number}}}
        body:
          sku: ${{ .sku }}
          quantity: ${{ .quantity // 1 }}
      output:
        as: '${{ {{sku: $input.sku, price: .price, quantity: ($input.quantity // 1)}} }}'
  - total:
      set:
        sku: ${{ .sku }}
        total: ${{ .price * .quantity + {number} }}
        large: ${{ .price * .quantity > {limit} }}
  - check:
      switch:
        - large:
            when: ${{ .large }}
            then: end
        - other:
            then: end
"""


def write_project(folder: Path) -> None:
    """Write the project into a folder."""
    for name in ("apis.d", "workflows.d"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "iogate.yaml").write_text("allow_run: {}\n")
    for module in range(MODULES):
        methods = (
            METHOD.format(number=number, module=module, workflow=(module * METHODS + number) % WORKFLOWS)
            for number in range(METHODS)
        )
        text = HEAD.format(number=module) + "".join(methods)
        (folder / "apis.d" / f"module{module}.yaml").write_text(text)
    for number in range(WORKFLOWS):
        write_workflow(folder, number, limit=100)


def write_workflow(folder: Path, number: int, *, limit: int) -> None:
    text = WORKFLOW.format(number=number, limit=limit)
    (folder / "workflows.d" / f"flow{number}.yaml").write_text(text)


def measure(site: Site, folder: Path, command: list[str]) -> tuple[float, float]:
    """Return the seconds of one command by the clock, and its processor time with that of its children."""
    environment = {**os.environ, **site.environment, "PYTHONPATH": str(site.checkout)}
    arguments = site.iogate(*command)
    arguments[arguments.index("-C") + 1] = str(folder)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(arguments, check=False, env=environment, cwd=site.checkout, capture_output=True)
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ran.stderr.decode()[-2000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: list[str]) -> None:
    parser = arguments_of("gitops", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, help="another checkout")
    parser.add_argument("--only", choices=list(COMMANDS))
    parser.add_argument("--write", type=Path, metavar="DIR", help="only write the project")
    given = parser.parse_args(arguments)
    if given.write is not None:
        write_project(given.write)
        return
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as store:
        folder = Path(name) / "project"
        sites = {"this": Site(Path(name), store)}
        if given.other is not None:
            sites["other"] = Site(Path(name), store, checkout=given.other.absolute())
        write_project(folder)
        measure(sites["this"], folder, ["apply", "--yes"])
        for number in range(CHANGED):
            write_workflow(folder, number, limit=200)
        measure(sites["this"], folder, ["apply", "--yes"])
        for number in range(CHANGED):
            write_workflow(folder, number, limit=300)
        for kind in COMMANDS if given.only is None else (given.only,):
            times: dict[str, list[tuple[float, float]]] = {side: [] for side in sites}
            for round_ in range(given.rounds + 1):
                for side in sorted(sites, reverse=round_ % 2 == 0):
                    taken = measure(sites[side], folder, COMMANDS[kind])
                    if round_:  # the first one fills the caches of files
                        times[side].append(taken)
            print(json.dumps({"command": kind, **_figures(times)}), flush=True)


def _figures(times: dict[str, list[tuple[float, float]]]) -> dict[str, object]:
    figures: dict[str, object] = {}
    medians: dict[str, list[float]] = {}
    for side, taken in times.items():
        medians[side] = [statistics.median(column) for column in zip(*taken, strict=True)]
        wall, processor = (round(each, 3) for each in medians[side])
        figures[side] = {"seconds": wall, "processorSeconds": processor}
    if "other" in medians:
        ratios = [this / other for this, other in zip(medians["this"], medians["other"], strict=True)]
        figures["ratio"] = {"seconds": round(ratios[0], 3), "processorSeconds": round(ratios[1], 3)}
    return figures
