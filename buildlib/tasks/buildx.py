"""The options that docker-build has as `docker buildx build` has them, made from their table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, Final, TypeVar, cast

from buildlib.config.buildx_options import GIVEN, Takes

Body = TypeVar("Body", bound=Callable[..., None])
_DEFAULTS: Final = {Takes.EACH: None, Takes.ONE: "", Takes.NOTHING: False}

HELP: Final = {option.name: option.help for option in GIVEN}
LISTS: Final = [option.parameter for option in GIVEN if option.takes is Takes.EACH]


def with_options(body: Body) -> Body:
    """Let Invoke see these options where a task takes any keyword."""
    seen = signature(body)
    named = [one for one in seen.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    made = [
        Parameter(one.parameter, Parameter.KEYWORD_ONLY, default=_DEFAULTS[one.takes])
        for one in GIVEN
        if one.takes
    ]
    cast("Any", body).__signature__ = seen.replace(parameters=[*named, *made])
    return body


def given(options: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each option that was given."""
    for option in GIVEN:
        match options[option.parameter]:
            case True:
                yield option.name, ""
            case str(text) if text:
                yield option.name, text
            case list(texts):
                yield from ((option.name, str(text)) for text in texts)
