"""A build as a trace of OpenTelemetry, in the JSON encoding of OTLP.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: identifiers are hexadecimal,
enumerations are numbers, and integers of 64 bits are texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from typing import Any, Final

from buildlib.distribution import version
from buildlib.records.record import Record, Step
from buildlib.records.report.texts import shown
from buildlib.records.report.timeline import moment

_INTERNAL: Final = 1
_OK: Final = 1
_ERROR: Final = 2
_NANOSECONDS: Final = 1_000_000_000
_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


def as_otlp(record: Record) -> str:
    """Return the trace: one span for the build, and one in it for each step that has times."""
    trace, root = _id(record.id, "", _TRACE_DIGITS), _id(record.id, "build", _SPAN_DIGITS)
    began = moment(record.started) or 0.0
    spans = [
        {
            "traceId": trace,
            "spanId": root,
            "name": shown(f"{record.task or 'build'} {record.image}"),
            "kind": _INTERNAL,
            **_times(began, began + record.seconds),
            "attributes": _attributes(
                {
                    "buildlib.record": record.id,
                    "buildlib.image": record.image,
                    "buildlib.version": record.version,
                    "buildlib.result": record.result,
                    "buildlib.digest": record.digest,
                    "buildlib.platforms": ",".join(record.platforms),
                    "buildlib.size": record.size,
                }
            ),
            "status": _status(record.error, failed=record.result != "built"),
        }
    ]
    known = {one.digest for one in record.steps if one.started and one.ended}
    for step in record.steps:
        begin, end = moment(step.started), moment(step.ended)
        if begin is not None and end is not None:
            own = {
                "traceId": trace,
                "spanId": _id(record.id, f"step {step.digest}", _SPAN_DIGITS),
                "parentSpanId": root,
                "name": shown(step.name),
                "kind": _INTERNAL,
                **_times(begin, end),
            }
            spans.append(own | _about(record.id, step, trace, known))
    scope = {"name": "buildlib", "version": version()}
    resource = {"attributes": _attributes({"service.name": "buildlib"})}
    found = {"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}
    return json.dumps({"resourceSpans": [found]}, separators=(",", ":")) + "\n"


def _about(record: str, step: Step, trace: str, known: Container[str]) -> dict[str, Any]:
    """Return what a span says of its step; links are to the steps that it needs."""
    links = [
        {"traceId": trace, "spanId": _id(record, f"step {one}", _SPAN_DIGITS)}
        for one in step.inputs
        if one in known
    ]
    attributes: dict[str, str | bool | int | None] = {
        "buildlib.stage": step.parts.stage,
        "buildlib.platform": step.parts.platform,
        "buildlib.cached": step.cached,
        "buildlib.cause": step.cause,
        "buildlib.bytes": step.size or None,
    }
    return {
        "attributes": _attributes(attributes),
        "links": links,
        "status": _status(step.error, failed=bool(step.error)),
    }


def _id(record: str, what: str, digits: int) -> str:
    """Return an identifier that is the same each time, and not of another build."""
    return hashlib.sha256(f"{record}\0{what}".encode("utf-8", "surrogateescape")).hexdigest()[
        :digits
    ]


def _times(begin: float, end: float) -> dict[str, str]:
    return {
        "startTimeUnixNano": str(round(begin * _NANOSECONDS)),
        "endTimeUnixNano": str(round(end * _NANOSECONDS)),
    }


def _status(error: str, *, failed: bool) -> dict[str, Any]:
    if not failed:
        return {"code": _OK}
    return {"code": _ERROR} | ({"message": shown(error)} if error else {})


def _attributes(values: dict[str, str | bool | int | None]) -> list[dict[str, Any]]:
    """Return attributes; those without a value are left out."""
    found: list[dict[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, bool):
            found.append({"key": key, "value": {"boolValue": value}})
        elif isinstance(value, int):
            found.append({"key": key, "value": {"intValue": str(value)}})
        elif value:
            found.append({"key": key, "value": {"stringValue": shown(value)}})
    return found
