"""What the services of a compose file come to on docker's command line.

Source: docs.docker.com/reference/compose-file, "services" and "build".
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.shell_text import interpolated
from buildlib.adopt.yaml_text import Node

# Keys that are an option of docker, once or for each entry.
_BUILD_OPTIONS: Final = {
    "target": "--target",
    "network": "--network",
    "shm_size": "--shm-size",
    "platforms": "--platform",
    "tags": "--tag",
    "cache_from": "--cache-from",
    "cache_to": "--cache-to",
    "ssh": "--ssh",
    "entitlements": "--allow",
    "provenance": "--provenance",
    "sbom": "--sbom",
}
_BUILD_PAIRS: Final = {
    "args": "--build-arg",
    "labels": "--label",
    "additional_contexts": "--build-context",
}
_BUILD_FLAGS: Final = {"no_cache": "--no-cache", "pull": "--pull"}
_BUILD_READ: Final = {
    *(*_BUILD_OPTIONS, *_BUILD_PAIRS, *_BUILD_FLAGS),
    *("context", "dockerfile", "extra_hosts", "secrets"),
}
_RUN_OPTIONS: Final = {
    "container_name": "--name",
    "user": "--user",
    "working_dir": "--workdir",
    "hostname": "--hostname",
    "network_mode": "--network",
    "restart": "--restart",
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "security_opt": "--security-opt",
    "tmpfs": "--tmpfs",
    "mem_limit": "--memory",
    "pids_limit": "--pids-limit",
    "cpus": "--cpus",
    "shm_size": "--shm-size",
    "stop_signal": "--stop-signal",
    "devices": "--device",
    "dns": "--dns",
    "platform": "--platform",
    "pull_policy": "--pull",
    "group_add": "--group-add",
    "runtime": "--runtime",
    "pid": "--pid",
    "ipc": "--ipc",
}
_RUN_PAIRS: Final = {"environment": "--env", "sysctls": "--sysctl"}
_RUN_FLAGS: Final = {
    "read_only": "--read-only",
    "init": "--init",
    "privileged": "--privileged",
    "tty": "--tty",
    "stdin_open": "--interactive",
}
_LIMITS: Final = {"cpus": "--cpus", "memory": "--memory", "pids": "--pids-limit"}
_RUN_READ: Final = {
    *(*_RUN_OPTIONS, *_RUN_PAIRS, *_RUN_FLAGS),
    *("build", "image", "ports", "volumes", "extra_hosts", "command", "entrypoint"),
    *("healthcheck", "deploy", "depends_on", "env_file"),
}
_PART: Final = "no option of docker does it"
_OPTIONAL: Final = "docker-run has no files that may be missing"


class _Words:
    """The options of one command."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.left: list[tuple[str, str]] = []

    def add(self, option: str, *values: str) -> None:
        for value in values:
            self.words += [option, interpolated(value, {})]

    def add_all(
        self, node: Node, options: dict[str, str], pairs: dict[str, str], flags: dict[str, str]
    ) -> None:
        for key, one in node.table.items():
            if key in options:
                self.add(options[key], *(one.texts or one.pairs))
            elif key in pairs:
                self.add(pairs[key], *one.pairs)
            elif key in flags and one.text == "true":
                self.words.append(flags[key])
        hosts = node.get("extra_hosts")
        names = [f"{name}:{one.text}" for name, one in hosts.table.items()]
        self.add("--add-host", *(names or (text.replace("=", ":") for text in hosts.texts)))


def compose_lines(document: Node, file: str, condition: str = "") -> Iterator[DockerLine]:
    """Yield what builds each service, and what runs it."""
    secrets = document.get("secrets")
    for name, service in document.get("services").table.items():
        build = service.get("build")
        image = interpolated(service.get("image").text, {})
        needs = service.get("depends_on")
        line = DockerLine(
            file=file,
            line=service.line,
            argv=(),
            where=f"service {name}",
            condition=condition,
            needs=(*needs.table, *needs.texts),
        )
        if build.value:
            yield _filled(replace(line, line=build.line), _build(build, image, secrets))
        yield _filled(line, _run(service, name, image))


def _filled(line: DockerLine, words: _Words) -> DockerLine:
    return replace(line, argv=("docker", *words.words), left=tuple(words.left))


def _build(build: Node, image: str, secrets: Node) -> _Words:
    words = _Words()
    words.words.append("build")
    context = interpolated(build.text or build.get("context").text or ".", {})
    dockerfile = build.get("dockerfile").text
    if dockerfile:
        words.add("--file", dockerfile if dockerfile.startswith("/") else f"{context}/{dockerfile}")
    if image:
        words.add("--tag", image)
    words.add_all(build, _BUILD_OPTIONS, _BUILD_PAIRS, _BUILD_FLAGS)
    for secret in build.get("secrets").items:
        name = secret.text or secret.get("source").text
        source = secrets.get(name)
        kind, place = "env", source.get("environment").text
        if not place:
            kind, place = "src", source.get("file").text
        words.add("--secret", f"id={name},{kind}={place}" if place else f"id={name}")
    words.left += [(f"build.{key}", _PART) for key in build.table if key not in _BUILD_READ]
    words.words.append(context)
    return words


def _run(service: Node, name: str, image: str) -> _Words:
    words = _Words()
    words.words.append("run")
    if not service.get("container_name").text:
        words.add("--name", name)
    words.add_all(service, _RUN_OPTIONS, _RUN_PAIRS, _RUN_FLAGS)
    limits = service.get("deploy", "resources", "limits")
    for key, option in _LIMITS.items():
        words.add(option, *limits.get(key).texts)
    for file in service.get("env_file").items:
        path = file.text or file.get("path").text
        if file.get("required").text == "false":
            words.left.append((f"env_file {path}", _OPTIONAL))
        elif path:
            words.add("--env-file", path)
    words.add("--publish", *map(_port, service.get("ports").items))
    words.add("--volume", *map(_volume, service.get("volumes").items))
    _health(service.get("healthcheck"), words)
    entrypoint = service.get("entrypoint")
    words.add("--entrypoint", *_command(entrypoint)[:1])
    words.left += [
        (key, "it is for compose alone" if key in {"networks", "labels"} else _PART)
        for key in service.table
        if key not in _RUN_READ
    ]
    words.words += [image or name, *_command(entrypoint)[1:], *_command(service.get("command"))]
    return words


def _health(check: Node, words: _Words) -> None:
    test = [item.text for item in check.get("test").items]
    if check.get("disable").text == "true" or test[:1] == ["NONE"]:
        words.words.append("--no-healthcheck")
        return
    plain = test[1:] if test[:1] in (["CMD"], ["CMD-SHELL"]) else test
    if any(plain):
        words.add("--health-cmd", plain[0] if len(plain) == 1 else shlex.join(plain))


def _command(node: Node) -> list[str]:
    if isinstance(node.value, str):
        try:
            return shlex.split(interpolated(node.value, {}))
        except ValueError:
            return [node.value]
    return [interpolated(text, {}) for text in node.texts]


def _port(node: Node) -> str:
    if not node.table:
        return node.text
    inside = node.get("target").text
    protocol = node.get("protocol").text
    inside = f"{inside}/{protocol}" if protocol not in {"", "tcp"} else inside
    parts = (node.get("host_ip").text, node.get("published").text, inside)
    return ":".join(part for part in parts if part)


def _volume(node: Node) -> str:
    if not node.table:
        return node.text
    read_only = ":ro" if node.get("read_only").text == "true" else ""
    source, target = node.get("source").text, node.get("target").text
    return f"{source}:{target}{read_only}" if source else f"{target}"
