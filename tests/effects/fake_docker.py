"""Fake of the command `docker`: containers are real processes of this machine, kept in a folder.

A real executable that tests put on PATH. It records every command line in `calls` of the folder that
CONTAINER_FAKE_DOCKER names, and implements only the commands that iogate uses.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

IMAGES = {"hello-world": ["echo", "Hello from Docker!"]}
"""Default commands of images."""

FOLDER = Path(os.environ["CONTAINER_FAKE_DOCKER"])


def place(name: str) -> Path:
    return FOLDER / "containers" / f"{name}.json"


def read(name: str) -> dict[str, Any]:
    if not place(name).exists():
        print(f"Error: No such container: {name}", file=sys.stderr)
        sys.exit(1)
    while True:
        try:
            state: dict[str, Any] = json.loads(place(name).read_text())
        except ValueError:  # being written
            time.sleep(0.01)
        else:
            return state


def name_of(identity: str) -> str:
    """Return the present name of a container; exit if it was removed."""
    for file in (FOLDER / "containers").glob("*.json"):
        if file.exists() and read(file.stem)["id"] == identity:
            return file.stem
    print(f"Error: No such container: {identity}", file=sys.stderr)
    sys.exit(1)


def write(name: str, state: dict[str, Any]) -> None:
    place(name).parent.mkdir(exist_ok=True, parents=True)
    fresh = place(name).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(state))
    fresh.replace(place(name))


def create(rest: list[str]) -> None:
    end = rest.index("--")
    options, (image, *command) = rest[:end], rest[end + 1 :]
    state: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "image": image,
        "command": command,
        "labels": {},
        "environment": {},
        "status": "created",
        "code": 0,
    }
    values = iter(options)
    for option in values:
        if option == "--name":
            name = next(values)
        elif option == "--label":
            label, _, value = next(values).partition("=")
            state["labels"][label] = value
        elif option == "--env-file":
            lines = Path(next(values)).read_text().splitlines()
            state["environment"] |= dict(line.split("=", 1) for line in lines)
        elif option == "--env":
            variable = next(values)
            state["environment"][variable] = os.environ[variable]
        elif option != "--interactive":
            next(values)
    if image == "no-such-image":
        print("Unable to find image 'no-such-image:latest' locally", file=sys.stderr)
        sys.exit(1)
    if place(name).exists():
        print(f'Conflict. The container name "/{name}" is already in use', file=sys.stderr)
        sys.exit(1)
    write(name, state)
    print(state["id"])


def start(rest: list[str]) -> None:
    *options, name = rest
    state = read(name)
    if state["image"] == "no-such-command":
        write(name, state | {"code": 127})
        print("Error response from daemon: exec: not found", file=sys.stderr)
        sys.exit(127)
    out, err = (stream_of(state, stream) for stream in ("stdout", "stderr"))
    # The daemon's child, not the command line's: whoever kills this one does not reach it.
    keeper = subprocess.Popen(
        [sys.executable, __file__, "keep", name],
        stdin=None if "--interactive" in options else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"CONTAINER_FAKE_DOCKER": str(FOLDER), "PATH": os.environ["PATH"]},
    )
    keeper.wait()
    sys.stdout.write(out.read_text())
    sys.stderr.write(err.read_text())
    sys.exit(read(name_of(state["id"]))["code"])


def keep(rest: list[str]) -> None:
    (name,) = rest
    state = read(name)
    with stream_of(state, "stdout").open("wb") as out, stream_of(state, "stderr").open("wb") as err:
        inside = subprocess.Popen(
            state["command"] or IMAGES.get(state["image"], ["true"]),
            stdout=out,
            stderr=err,
            env={"PATH": os.environ["PATH"], **state["environment"]},
            start_new_session=True,
        )
        write(name, state | {"status": "running", "pid": inside.pid})
        code = inside.wait()
    end = {"status": "exited", "code": code if code >= 0 else 128 - code, "finished": now()}
    name = name_of(state["id"])
    write(name, read(name) | end)


def stream_of(state: dict[str, Any], stream: str) -> Path:
    return FOLDER / f"{state['id']}.{stream}"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def inspect(rest: list[str]) -> None:
    shape, name = rest[-2:]
    state = read(name)
    if "json .State}" in shape:
        print(json.dumps({"Status": state["status"], "ExitCode": state["code"], "Error": ""}))
    elif "FinishedAt" in shape:
        print(json.dumps({"at": state["finished"], "keep": state["labels"]["iogate.keep"]}))
    elif ".State.Status" in shape:
        print(state["status"], state["labels"].get("iogate.effect", ""))
    else:
        print(state["labels"].get("iogate.effect", ""))


def wait(rest: list[str]) -> None:
    identity = read(rest[0])["id"]
    while read(name_of(identity))["status"] != "exited":
        time.sleep(0.02)
    print(read(name_of(identity))["code"])


def logs(rest: list[str]) -> None:
    state = read(rest[0])
    sys.stdout.write(stream_of(state, "stdout").read_text())
    sys.stderr.write(stream_of(state, "stderr").read_text())


def kill(rest: list[str]) -> None:
    state = read(rest[0])
    if state["status"] != "running":
        sys.exit(1)
    os.killpg(state["pid"], signal.SIGKILL)


def rm(rest: list[str]) -> None:
    if read(rest[-1])["status"] == "running":
        kill(rest[-1:])
        wait(rest[-1:])
    place(rest[-1]).unlink()


def rename(rest: list[str]) -> None:
    read(rest[0])
    place(rest[0]).rename(place(rest[1]))


def ps(rest: list[str]) -> None:
    for file in (FOLDER / "containers").glob("*.json"):
        state = json.loads(file.read_text())
        if "iogate.keep" in state["labels"] and state["status"] == "exited":
            print(file.stem)


COMMANDS = {each.__name__: each for each in (create, start, keep, inspect, wait, logs, kill, rm, rename, ps)}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    if sys.argv[1] != "keep":
        with (FOLDER / "calls").open("a") as calls:
            calls.write(json.dumps(sys.argv[1:]) + "\n")
    COMMANDS[sys.argv[1]](sys.argv[2:])
