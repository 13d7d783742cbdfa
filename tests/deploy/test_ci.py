"""Recipes for CI: every `iogate` command in them exists with its options, and those without a store run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from iogate.cli.app import make_app
from iogate.documents.yaml.reader import read_file

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / "deploy/ci/github.yaml"
GITLAB = ROOT / "deploy/ci/gitlab.yaml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
SEPARATORS = {";", "&&", "||", "|", ">", ">>", "<"}


def data(path: Path) -> Any:
    reading = read_file(path, path.name)
    assert [problem.message for problem in reading.problems] == []
    return reading.data


def github_steps(*jobs: str) -> list[tuple[str, str]]:
    """The scripts of jobs, each with its condition."""
    found = data(GITHUB)["jobs"]
    return [
        (step["run"], step.get("if", "")) for job in jobs for step in found[job]["steps"] if "run" in step
    ]


def gitlab_scripts() -> list[str]:
    jobs = [job for job in data(GITLAB).values() if isinstance(job, dict)]
    return [line for job in jobs for line in (*job.get("before_script", ()), *job.get("script", ()))]


SCRIPTS = {
    GITHUB: [script for script, _ in github_steps(*data(GITHUB)["jobs"])],
    GITLAB: gitlab_scripts(),
    HOOKS: [hook["entry"] for hook in data(HOOKS)],
}


def commands(script: str) -> Iterator[list[str]]:
    """The arguments of each `iogate` in a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        while "iogate" in words:
            words = words[words.index("iogate") + 1 :]
            yield words[: next((at for at, word in enumerate(words) if word in SEPARATORS), len(words))]


COMMANDS = [found for scripts in SCRIPTS.values() for script in scripts for found in commands(script)]


def parse(arguments: list[str]) -> None:
    """Parse a command line without running it; raise what typer raises."""
    command: Any = typer.main.get_command(make_app())
    rest = list(arguments)
    while (below := getattr(command, "commands", None)) is not None:
        command = below[rest.pop(0)]
    command.make_context("iogate", rest)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_exists_with_its_options(arguments: list[str]) -> None:
    parse(arguments)


def test_a_recipe_that_lies_is_caught() -> None:
    assert list(commands("a && iogate fmt --check > x; iogate plan")) == [["fmt", "--check"], ["plan"]]
    for wrong in (["fmt", "--chek"], ["plann"], ["apply", "--wait"]):
        with pytest.raises(Exception, match=r"."):
            parse(wrong)


def test_the_recipes_cover_the_way_of_a_change() -> None:
    wanted = ["validate", "lint", "fmt", "test", "plan", "apply", "drift"]
    for path in (GITHUB, GITLAB):
        names = {found[0] for script in SCRIPTS[path] for found in commands(script)}
        assert names >= set(wanted), path
    assert {hook["id"] for hook in data(HOOKS)} == {f"iogate-{name}" for name in wanted[:4]}


def test_the_secrets_of_the_store_reach_only_the_jobs_that_need_them() -> None:
    jobs = data(GITHUB)["jobs"]
    with_secrets = {name for name, job in jobs.items() if "secrets." in str(job)}
    assert with_secrets == {"apply", "drift"}
    assert {name for name, job in jobs.items() if job.get("environment") == "production"} == with_secrets
    assert data(GITHUB)["permissions"] == {"contents": "read"}
    # An expression in a script would be code of whoever names a branch.
    assert not any("${{" in script for script, _ in github_steps(*jobs))


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("apis.d/a.yaml", {"fmt", "validate", "lint", "test"}),
        ("workflows.d/shop/b.yml", {"fmt", "validate", "lint", "test"}),
        ("workflows.d/report.py", {"validate", "lint", "test"}),
        ("iogate.staging.yaml", {"validate", "lint", "test"}),
        ("docs/apis.d/a.yaml", set()),
        ("README.md", set()),
    ],
)
def test_hooks_run_for_the_files_of_a_project(name: str, matches: set[str]) -> None:
    found = {hook["id"].removeprefix("iogate-") for hook in data(HOOKS) if re.search(hook["files"], name)}
    assert found == matches


class Repository:
    """A clone of a project with a branch, as CI has it, and stubs of the programs that need a network."""

    def __init__(self, root: Path) -> None:
        self.root = root / "clone"
        self.bin = root / "bin"
        self.bin.mkdir()
        self.log = root / "calls"
        self.log.write_text("")
        self._program("iogate", f'exec {shlex.quote(sys.executable)} -m iogate "$@"')
        for name in ("pip", "gh", "curl"):
            self._program(name, f'echo {name} "$@" >> {shlex.quote(str(self.log))}')
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("IOGATE_", "GIT_"))},
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(root),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PACKAGE": "iogate",
            "GITHUB_BASE_REF": "main",
            "GITHUB_STEP_SUMMARY": str(root / "summary"),
            "PULL_REQUEST": "https://example.com/pull/7",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_API_V4_URL": "https://example.com/api/v4",
            "CI_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_IID": "7",
            "NOTES_TOKEN": "not-a-token",
        }
        origin = root / "origin.git"
        for line in (
            f"git init -q --bare {origin}",
            f"git init -q -b main {self.root}",
            "iogate init",
            "git config user.email a@example.com && git config user.name A",
            f"git remote add origin {origin}",
            "git add -A && git commit -qm first && git push -q origin main && git checkout -q -b change",
        ):
            done = self.run(line, root if line.startswith("git init") else self.root)
            assert done.returncode == 0, done.stderr

    def _program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(self, script: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder or self.root,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def change(self, path: str, before: str, after: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))
        done = self.run("git commit -qam change")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("ci"))


@pytest.mark.timeout(180)
def test_the_offline_jobs_run(repository: Repository) -> None:
    repository.change("apis.d/hello.yaml", "verbs: [GET, POST]", "verbs: [POST]")
    for script, _ in github_steps("check", "plan"):
        done = repository.run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    plan = (repository.root / "plan.md").read_text()
    assert "hello/greet" in plan
    assert "GET" in plan
    assert plan in (repository.root.parent / "summary").read_text()
    assert "<testsuite" in (repository.root / "report.xml").read_text()
    assert repository.log.read_text().splitlines()[-1] == (
        "gh pr comment https://example.com/pull/7 --edit-last --create-if-none --body-file plan.md"
    )
    # Those of GitLab are the same commands; only its plan has more to do.
    (repository.root / "plan.md").unlink()
    done = repository.run("\n".join(data(GITLAB)["plan"]["script"]))
    assert done.returncode == 0, done.stderr
    assert (repository.root / "plan.md").read_text() == plan
    note = repository.log.read_text().splitlines()[-1]
    assert note.endswith("https://example.com/api/v4/projects/1/merge_requests/7/notes")
    assert "body@plan.md" in note


@pytest.mark.timeout(180)
def test_wrong_documents_fail_the_steps_that_are_there_for_them(repository: Repository) -> None:
    repository.change("apis.d/hello.yaml", "timeout: 1m", "timeuot:   1m")
    lint = repository.run("iogate lint --strict -o github")
    assert lint.returncode == 3
    assert "::error file=apis.d/hello.yaml," in lint.stdout
    fmt = repository.run("iogate fmt --check --diff")
    assert fmt.returncode == 2
    assert "+    timeuot: 1m" in fmt.stdout
