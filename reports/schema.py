"""What OpenAPI says of the reports' API; names come from the registry, so it is never behind."""

from typing import Any, Final

from properties.models import Property
from properties.periods import CYCLES, KINDS
from reports import filters, histograms, questions
from reports.metrics import DIMENSIONS, METRICS, PROPS, TIME

_TIMES: Final = [TIME + kind for kind in (*KINDS, *CYCLES)]
_NUMBER: Final[dict[str, Any]] = {"type": "number", "nullable": True}
_NUMBERS: Final[dict[str, Any]] = {"type": "object", "additionalProperties": _NUMBER}
_ROWS: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": True},
    "description": "One flat object a row: dimensions and metrics by their names.",
}
_SPAN: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["from", "to"],
    "properties": {"from": {"type": "string"}, "to": {"type": "string"}},
    "additionalProperties": False,
    "description": "Dates are inclusive days in the property's zone, date-times half-open.",
}

FILTER: Final[dict[str, Any]] = {
    "type": "array",
    "items": {},
    "description": f"[{' | '.join(filters.OPERATORS)}, dimension, [values]], nested by "
    f"[{' | '.join(filters.JOINTS)}, ...].",
}

QUESTION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["metrics"],
    "additionalProperties": False,
    "properties": {
        "metrics": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "enum": list(METRICS)},
        },
        "dimensions": {
            "type": "array",
            "maxItems": questions.MOST_DIMENSIONS,
            "uniqueItems": True,
            "items": {"type": "string"},
            "description": ", ".join(
                [*DIMENSIONS, f"{PROPS}<name>", *(TIME + kind for kind in (*KINDS, *CYCLES))]
            ),
        },
        "filters": FILTER | {"nullable": True},
        "range": {
            "oneOf": [{"type": "string"}, _SPAN],
            "default": questions.DEFAULT_RANGE,
        },
        "compare": {
            "oneOf": [{"type": "string", "enum": list(questions.COMPARISONS)}, _SPAN],
            "nullable": True,
        },
        "align": {"type": "string", "enum": list(questions.ALIGNMENTS), "default": "date"},
        "order_by": {
            "type": "array",
            "items": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "string"},
            },
            "description": '[[metric or dimension, "asc" | "desc"], ...]',
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": questions.MOST_ROWS,
            "default": questions.DEFAULT_LIMIT,
        },
        "offset": {
            "type": "integer",
            "minimum": 0,
            "maximum": questions.MOST_REACHED - questions.MOST_ROWS,
            "default": 0,
            "description": "So many rows are left out at the beginning: a large table by pages.",
        },
        "bots": {"type": "string", "enum": list(questions.BOTS), "default": "exclude"},
    },
}

ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["rows", "totals", "meta"],
    "properties": {
        "rows": _ROWS,
        "totals": _NUMBERS,
        "compare": {
            "type": "object",
            "properties": {
                "from": {"type": "string"},
                "to": {"type": "string"},
                "totals": _NUMBERS,
                "rows": _ROWS
                | {
                    "description": "Every period of a plain series; else one row for each of "
                    "`rows`, in their order: null where nothing is known, 0 where nothing came."
                },
            },
        },
        "meta": {
            "type": "object",
            "properties": {
                "timezone": {"type": "string"},
                "from": {"type": "string", "format": "date-time"},
                "to": {"type": "string", "format": "date-time"},
                "complete_until": {"type": "string", "format": "date-time", "nullable": True},
                "counted_from": {"type": "string", "format": "date-time"},
                "exact": {"type": "boolean"},
                "definitions": {"type": "object", "additionalProperties": {"type": "string"}},
                "raw_from": {"type": "string", "format": "date-time"},
                "route": {"type": "string", "enum": ["rolled", "columns", "raw"]},
                "filters": {"type": "array", "nullable": True, "items": {}},
                "identity": {"type": "string", "enum": Property.Privacy.values},
                "interval": {"type": "string", "enum": [*KINDS, *CYCLES]},
                "starts": {"type": "array", "items": {"type": "string", "format": "date-time"}},
                "open_from": {"type": "string", "nullable": True},
            },
        },
    },
}

ANSWER_EXAMPLE: Final[dict[str, Any]] = {
    "rows": [
        {"page": "/", "visitors": 214, "pageviews": 572},
        {"page": "/pricing", "visitors": 98, "pageviews": 131},
    ],
    "totals": {"visitors": 367, "pageviews": 1250},
    "meta": {
        "timezone": "UTC",
        "from": "2015-05-17T00:00:00+00:00",
        "to": "2015-05-21T00:00:00+00:00",
        "complete_until": "2015-05-21T08:12:31+00:00",
        "counted_from": "2015-05-17T00:00:00+00:00",
        "exact": True,
        "definitions": {name: METRICS[name].definition for name in ("visitors", "pageviews")},
        "route": "rolled",
        "filters": None,
        "identity": "cookies",
    },
}

HISTOGRAM_QUESTION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["property"],
    "additionalProperties": False,
    "properties": {
        "property": {"type": "string", "pattern": f"^{PROPS}.+", "description": "Of events."},
        **{
            name: QUESTION["properties"][name]
            for name in histograms.FIELDS
            if name in QUESTION["properties"]
        },
        "bins": {
            "type": "integer",
            "minimum": histograms.FEWEST_BINS,
            "maximum": histograms.MOST_BINS,
            "default": histograms.DEFAULT_BINS,
            "description": "At most so many; their width is a round number.",
        },
    },
}
_COUNT: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_SPREAD: Final[dict[str, Any]] = {
    "bins": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["from", "to", "events"],
            "properties": {
                "from": {"type": "number"},
                "to": {"type": "number", "description": "Not in the bin itself."},
                "events": _COUNT,
            },
        },
    },
    "numbers": {**_COUNT, "description": "Events with a number."},
    "missing": {**_COUNT, "description": "Events without one."},
    **dict.fromkeys(("min", "max", "mean", "median"), _NUMBER),
    "meta": ANSWER["properties"]["meta"],
}
HISTOGRAM: Final[dict[str, Any]] = {
    "type": "object",
    "required": list(_SPREAD),
    "properties": {
        **_SPREAD,
        "compare": {
            "type": "object",
            "required": list(_SPREAD),
            "properties": _SPREAD,
            "description": "The range compared with, in the same bins.",
        },
    },
}
HISTOGRAM_EXAMPLE: Final[dict[str, Any]] = {
    "bins": [{"from": 0, "to": 10, "events": 2}, {"from": 10, "to": 20, "events": 1}],
    "numbers": 3,
    "missing": 1,
    "min": 4.5,
    "max": 12,
    "mean": 7,
    "median": 4.5,
    "meta": {**ANSWER_EXAMPLE["meta"], "definitions": {"histogram": histograms.DEFINITION}},
}

_TEXT: Final = {"type": "string"}


def _list_of(properties: dict[str, Any]) -> dict[str, Any]:
    row = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "array", "items": row}


_DIMENSIONS: Final = _list_of(
    {"name": _TEXT, "label": _TEXT, "scope": {"type": "string", "enum": ["event", "session"]}}
    | {"module": _TEXT}
)
DIMENSIONS_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["dimensions", "properties", "metrics"],
    "properties": {
        "dimensions": _DIMENSIONS,
        "properties": _list_of({"name": _TEXT, "type": _TEXT, "events": {"type": "integer"}}),
        "metrics": _list_of(
            dict.fromkeys(("name", "label", "unit", "module", "definition"), _TEXT)
        ),
    },
}
DIMENSIONS_EXAMPLE: Final[dict[str, Any]] = {
    "dimensions": [{"name": "page", "label": "Page", "scope": "event", "module": "content"}],
    "properties": [{"name": "props:plan", "type": "string", "events": 214}],
    "metrics": [
        {
            "name": "visitors",
            "label": "Visitors",
            "unit": "count",
            "module": "audience",
            "definition": METRICS["visitors"].definition,
        }
    ],
}

VALUES: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["values"],
    "properties": {"values": _list_of({"value": _TEXT, "count": {"type": "integer"}})},
}
VALUES_EXAMPLE: Final[dict[str, Any]] = {
    "values": [{"value": "/", "count": 572}, {"value": "/pricing", "count": 131}]
}

_STATES: Final = {state: {"type": "integer"} for state in ("open", "active", "engaged")}
_KNOWN: Final = {"type": "integer", "nullable": True}
_LEVEL: Final = {"type": "number", "nullable": True}
_SHARE: Final = {"type": "number", "nullable": True, "minimum": 0, "maximum": 1}


def _live_rows(name: str, **more: Any) -> dict[str, Any]:
    row = {"type": "object", "properties": {name: {"type": "string"}, **_STATES, **more}}
    return {"type": "array", "items": row}


# Which part of it comes is said by the question: all, or the numbers and one list.
REALTIME: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["at", "open", "active", "engaged"],
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        **_STATES,
        "pages": _live_rows(
            "page",
            engaged_ms=_KNOWN,
            scroll=_KNOWN,
            trend={"type": "string", "enum": ["gaining", "losing", "steady"]},
            new=_SHARE,
        ),
        "sources": _live_rows("source"),
        "campaigns": _live_rows("campaign"),
        "countries": _live_rows("country"),
        "devices": _live_rows("device"),
        "visits": {
            "type": "object",
            "properties": {visit: {"type": "integer"} for visit in ("new", "returning", "loyal")},
        },
        "last_30m": {
            "type": "object",
            "properties": {
                **dict.fromkeys(("events", "conversions", "carts", "revenue"), _KNOWN),
                "currency": {"type": "string", "nullable": True},
            },
        },
        "unusual": {
            "type": "object",
            "description": "Of one property and everybody: the same hour of the weeks before.",
            "required": ["verdict", "text"],
            "properties": {
                "verdict": {"type": "string", "enum": ["normal", "spike", "drop", "unknown"]},
                "text": _TEXT,
                "median": _LEVEL,
                "low": _LEVEL,
                "high": _LEVEL,
                "basis": {"type": "string", "enum": ["weeks", "hours", None], "nullable": True},
                "hours": {"type": "integer", "nullable": True},
            },
        },
        "recent": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
        },
        "properties": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"property": _TEXT, "name": _TEXT, **_STATES},
            },
        },
    },
}
_ONE_OF_TWO: Final = {"open": 2, "active": 1, "engaged": 1}
REALTIME_EXAMPLE: Final[dict[str, Any]] = {
    "at": "2026-03-14T09:26:53.589+00:00",
    **_ONE_OF_TWO,
    "pages": [
        {"page": "/", **_ONE_OF_TWO, "engaged_ms": 34_000, "scroll": 62}
        | {"trend": "gaining", "new": 0.5}
    ],
    "sources": [{"source": "Google", **_ONE_OF_TWO}],
    "campaigns": [],
    "countries": [{"country": "DE", **_ONE_OF_TWO}],
    "devices": [{"device": "Desktop", **_ONE_OF_TWO}],
    "visits": {"new": 1, "returning": 1, "loyal": 0},
    "last_30m": {"events": 41, "conversions": 1, "carts": 2, "revenue": 4990, "currency": "EUR"},
    "recent": [[1_773_480_412, 1, 1, 0], [1_773_480_413, 2, 1, 1]],
}
ACCOUNT_REALTIME_EXAMPLE: Final[dict[str, Any]] = REALTIME_EXAMPLE | {
    "properties": [{"property": "AK-7QX2M4ND", "name": "Shop", **_ONE_OF_TWO}]
}

MOST_CONCURRENT: Final = 50
_CONCURRENT: Final[dict[str, Any]] = {
    f"{state}_{what}": {"type": kind, "nullable": True}
    for state in _STATES
    for what, kind in (("peak", "integer"), ("average", "number"))
}
CONCURRENCY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["rows", "meta"],
    "properties": {
        "rows": {
            "type": "array",
            "description": "One object a period (null: nobody looked); of a dimension without a "
            "value one for each page or source.",
            "items": {
                "type": "object",
                "required": list(_CONCURRENT),
                "properties": {
                    "time": {"type": "string", "format": "date-time"},
                    "samples": {"type": "integer"},
                    "page": {"type": "string"},
                    "source": {"type": "string"},
                    **_CONCURRENT,
                },
            },
        },
        "meta": {
            "type": "object",
            "required": ["timezone", "from", "to", "interval", "sampled_every", "definitions"],
            "properties": {
                "timezone": {"type": "string"},
                "from": {"type": "string", "format": "date-time"},
                "to": {"type": "string", "format": "date-time"},
                "interval": {"type": "string", "enum": ["minute", "hour", "day"]},
                "sampled_every": {"type": "integer", "description": "Seconds."},
                "definitions": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
    },
}
CONCURRENCY_EXAMPLE: Final[dict[str, Any]] = {
    "rows": [
        {
            "time": "2026-05-17T13:00:00+00:00",
            "samples": 720,
            "open_peak": 412,
            "open_average": 371.25,
            "active_peak": 240,
            "active_average": 201.5,
            "engaged_peak": 96,
            "engaged_average": 60.125,
        }
    ],
    "meta": {
        "timezone": "UTC",
        "from": "2026-05-17T13:00:00+00:00",
        "to": "2026-05-17T14:00:00+00:00",
        "interval": "hour",
        "sampled_every": 5,
        "definitions": {"open_peak": "The most visitors who had a tab open in one moment."},
    },
}
STREAM: Final[dict[str, Any]] = {"type": "string", "format": "binary"}
STREAM_EXAMPLE: Final = (
    "retry: 2000\n\n"
    "id: 1773480413589-0\nevent: snapshot\n"
    'data: {"at": "2026-03-14T09:26:53.589+00:00", "open": 2, "active": 1, "engaged": 1}\n\n'
    "id: 1773480414102-0\nevent: feed\n"
    'data: {"at": "2026-03-14T09:26:54.102+00:00", "name": "pageview", "page": "/"}\n\n'
)

STATS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "account": {"type": "string"},
        "type": {"type": "string", "enum": ["track"]},
        "event": {"type": "string"},
        **{
            name: {"type": "integer", "nullable": True} for name in ("year", "month", "day", "hour")
        },
        "data": {"type": "object", "additionalProperties": {"type": "integer"}},
        "links": {"type": "array", "items": {"type": "string"}},
    },
}
STATS_EXAMPLE: Final[dict[str, Any]] = {
    "account": "acme",
    "type": "track",
    "event": "pageview",
    "year": 2013,
    "month": None,
    "day": None,
    "hour": None,
    "data": {str(month): month * 100 for month in range(1, 13)},
    "links": [f"/api/stats/track/acme/pageview/2013/{month}" for month in range(1, 13)],
}
