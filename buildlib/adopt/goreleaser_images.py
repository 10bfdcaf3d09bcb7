"""What GoReleaser builds images with, on docker's command line.

Source: goreleaser.com/customization, "Docker Images", "Docker (v2)" and "Docker Manifests".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.yaml_text import Node
from buildlib.shell import repeated

_CONTEXT: Final = "GoReleaser's own context, which has the programs that it built"
_SELECTS: Final = ("id", "ids", "goos", "goarch", "goarm", "goamd64", "use")
_READ: Final = {
    *("image_templates", "dockerfile", "build_flag_templates", "images", "tags", "platforms"),
    *("build_args", "labels", "annotations", "flags", "sbom", "push_flags", *_SELECTS),
}


def goreleaser_lines(document: Node, file: str) -> Iterator[DockerLine]:
    """Yield what GoReleaser runs for images, in its order."""
    project = document.get("project_name").text
    for entry in document.get("dockers").items:
        flags = _filled(entry.get("build_flag_templates").texts, project)
        named = any(flag.startswith("--platform") for flag in flags)
        words = [] if named else ["--platform", _platform(entry)]
        images = _filled(entry.get("image_templates").texts, project)
        yield _line(entry, file, [*words, *repeated("--tag", images), *flags])
        for image in images:
            push = ("docker", "push", image)
            yield DockerLine(file=file, line=entry.line, argv=push, where="dockers")
    for entry in document.get("dockers_v2").items:
        tags = _filled(entry.get("tags").texts, project)
        images = _filled(entry.get("images").texts, project)
        words = repeated("--tag", [f"{image}:{tag}" for image in images for tag in tags if tag])
        platforms = entry.get("platforms").texts or ["linux/amd64", "linux/arm64"]
        words += ["--platform", ",".join(platforms)]
        for key, option in (
            ("build_args", "--build-arg"),
            ("labels", "--label"),
            ("annotations", "--annotation"),
        ):
            words += repeated(option, _filled(entry.get(key).pairs, project))
        if entry.get("sbom").text not in {"", "false"}:
            words.append("--sbom=true")
        yield _line(entry, file, [*words, *_filled(entry.get("flags").texts, project), "--push"])
    for entry in document.get("docker_manifests").items:
        name, *images = _filled(
            [entry.get("name_template").text, *entry.get("image_templates").texts], project
        )
        for words in (["create", name, *images], ["push", name]):
            argv = ("docker", "manifest", *words)
            yield DockerLine(file=file, line=entry.line, argv=argv, where="docker_manifests")


def _platform(entry: Node) -> str:
    parts = [entry.get("goos").text or "linux", entry.get("goarch").text or "amd64"]
    if arm := entry.get("goarm").text:
        parts.append(f"v{arm}")
    return "/".join(parts)


def _filled(texts: list[str], project: str) -> list[str]:
    if not project:
        return texts
    return [
        text.replace("{{ .ProjectName }}", project).replace("{{.ProjectName}}", project)
        for text in texts
    ]


def _line(entry: Node, file: str, words: list[str]) -> DockerLine:
    dockerfile = entry.get("dockerfile").text
    named = ["--file", dockerfile] if dockerfile else []
    unread = [(key, "GoReleaser's own") for key in entry.table if key not in _READ]
    return DockerLine(
        file=file,
        line=entry.line,
        argv=("docker", "buildx", "build", *named, *words, "."),
        where=entry.get("id").text or "dockers",
        left=(*unread, ("context", _CONTEXT)),
    )
