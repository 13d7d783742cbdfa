"""Paths are relative to the project folder, wherever the command was typed."""

from __future__ import annotations

from pathlib import Path

from tests.cli.place import Place, started, until
from tests.ports import free_port

API = """\
module: shop
auth: {token: {file: keys/token}}
methods:
  look: {workflow: shop/look, verbs: [GET], enabled: true, timeout: 1m}
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: look, version: 1.0.0}
use: {secrets: [word]}
do:
  - look: {set: {opens: '${ $secrets.word == "sesame" }'}}
"""
SETTINGS = """\
secrets: {word: {file: keys/word}}
data_dir: here
"""


def test_gateways_and_workers_find_secret_files_in_the_projects_folder(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    files = {
        "apis.d/shop.yaml": API,
        "workflows.d/look.yaml": WORKFLOW,
        "iogate.yaml": SETTINGS,
        "keys/token": "iog_shop\n",
        "keys/word": "sesame\n",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    port = free_port()
    with started(elsewhere, "-C", str(project), "up", "--port", str(port)) as process:
        place = Place(root=elsewhere, port=port, process=process)
        until(lambda: "curl" in place.out or process.poll() is not None)
        status, answer = place.call("/v1/api/shop/look/sync", headers={"token": "iog_shop"})
    assert (status, answer["data"]) == (200, {"opens": True}), place.err
    assert (project / "here").is_dir()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["up.err", "up.out"]
