"""Asks a running gateway for its OpenAPI description and holds live answers against it.

    openapi_fits.py BASE_URL USER DEVICE [RESOURCE …]   (DEVICE: a serial number)

Every GET that needs nothing but these names is asked, and what comes must fit the schema of its
status. Needs the package jsonschema. Exits with 1 at the first answer that does not fit.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import jsonschema


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def resolve(description, node):
    while "$ref" in node:
        target = description
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def schema_of(description, operation, status, content_type):
    responses = operation["responses"]
    response = responses.get(str(status)) or responses.get(f"{status // 100}XX")
    if response is None:
        raise SystemExit(f"status {status} is not described")
    content = resolve(description, response).get("content")
    if content is None:
        return None
    if content_type not in content:
        raise SystemExit(f"{content_type} with status {status} is not described")
    return content[content_type]["schema"]


def main():
    base, user, device, *resources = sys.argv[1:]
    _, _, body = fetch(base + "/v3/openapi.json")
    description = json.loads(body)
    skipped = {"/", "/assets/{file}", "/iotmp", "/v3/fleet/events"}
    asked = 0
    for path, item in description["paths"].items():
        if path in skipped or "get" not in item:
            continue
        for resource in resources or ["nonsense"] if "{resource}" in path else [""]:
            names = dict(user=user, device=device, id=device, resource=resource, name="none", bucket="none")
            url = base + path.format(**{k: urllib.parse.quote(v, "") for k, v in names.items()})
            status, content_type, body = fetch(url)
            schema = schema_of(description, item["get"], status, content_type)
            if schema is not None:
                # Beside its components, so that references within the file resolve.
                whole = {**schema, "components": description["components"]}
                said = json.loads(body) if content_type.endswith("json") else body.decode()
                jsonschema.Draft202012Validator(whole).validate(said)
            asked += 1
    print(f"{asked} answers fit")


main()
