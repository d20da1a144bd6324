"""Holds dashboards against Grafana's own schema, as its foundation SDK knows it: prints what does not fit, a line each.

What it keeps true:
- A key that the schema does not know is reported: Grafana would ignore it, and the panel would not look as it was meant.
- A value of another type, or not among those the schema allows, is reported, at any depth and in the options of the panels' kinds.

check_dashboards.py FILE...; exit code 0 = everything fits, 1 = something does not.
"""

import collections.abc
import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def unknown(ours, theirs, at):
    """What is in the file and not in what the SDK made of it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from unknown(value, theirs[key], f"{at}.{key}")
            elif value is not None:
                yield f"{at}.{key}: not in the schema"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs)):
            yield from unknown(*pair, f"{at}[{number}]")
    elif ours != theirs:
        yield f"{at}: {json.dumps(ours)} is read as {json.dumps(theirs, cls=JSONEncoder)}"


def fits(value, hint):
    """Whether a plain value may stand where the schema says `hint`."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or hint is object:
        return True
    if kind in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if kind is typing.Literal:
        return value in parts
    if kind in (list, collections.abc.Sequence):
        return isinstance(value, list)
    if kind in (dict, collections.abc.Mapping):
        return isinstance(value, dict)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def misfits(value, at):
    """Attributes of what the SDK read whose values its types do not allow."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from misfits(item, f"{at}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from misfits(item, f"{at}.{key}")
    elif hasattr(value, "to_json") and not isinstance(value, enum.Enum):
        for name, hint in typing.get_type_hints(type(value)).items():
            item = getattr(value, name)
            if not fits(item, hint):
                yield f"{at}.{name}: {json.dumps(item, cls=JSONEncoder)} is not {hint}"
            yield from misfits(item, f"{at}.{name}")


def problems(text, at):
    ours = json.loads(text)
    read = Dashboard.from_json(ours)
    yield from misfits(read, at)
    yield from unknown(ours, json.loads(json.dumps(read, cls=JSONEncoder)), at)


def main(paths):
    plugins.register_default_plugins()
    found = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            found.extend(problems(file.read(), path.rsplit("/", 1)[-1]))
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
