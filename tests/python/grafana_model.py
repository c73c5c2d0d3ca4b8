"""Reads dashboards into Grafana's own model of them, and says what that has no place for.

    python3 grafana_model.py DASHBOARD.json...

A misspelt field or a value of another type is lost on the way through the model, as it is in
Grafana, which says nothing. Needs the package grafana-foundation-sdk, which the makers of Grafana
generate from its schemas. Exits with 1 where something is lost.
"""

import json
import pathlib
import re
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# What Grafana's own exports have as well, and its model leaves to the data source.
LEFT_OPEN = re.compile(
    r"\.annotations\.list\[\d+\]\.(builtIn|step|textFormat|titleFormat)"
    r"|\.templating\.list\[\d+\]\.definition"
)


def lost(written, read, place=""):
    """The places of `written` that `read` has not, or otherwise. What `read` adds are defaults."""
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            where = f"{place}.{name}"
            if name in read:
                yield from lost(value, read[name], where)
            elif not LEFT_OPEN.fullmatch(where):
                yield f"{where} is lost"
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (value, again) in enumerate(zip(written, read)):
            yield from lost(value, again, f"{place}[{number}]")
    elif written != read:
        yield f"{place} is {json.dumps(written)}, and read as {json.dumps(read)}"


def main(paths):
    register_default_plugins()
    problems = 0
    for path in paths:
        written = json.loads(pathlib.Path(path).read_text())
        read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
        for problem in lost(written, read):
            print(f"{path}: {problem}")
            problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
