"""The document of the contract is of the routes that there are, and of the types that validate."""

import json

import pytest
from openapi_spec_validator import validate

from chiasm.api.contract import OPERATIONS, openapi


@pytest.fixture(scope="module")
def document(shared_app) -> dict:
    return openapi(shared_app, "1.2.3")


def test_every_route_is_in_the_contract_and_no_other(app):
    real = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("web.")
    }
    assert real == set(OPERATIONS)


def test_the_document_is_valid_openapi_3_1(document, client):
    validate(document)
    assert document["openapi"].startswith("3.1")
    served = client.get("/openapi.json")
    assert served.json["paths"] == json.loads(json.dumps(document["paths"]))


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "rule"), [key for key, operation in OPERATIONS.items() if operation.body is not None]
)
def test_a_body_has_the_fields_that_the_route_knows(app, client, method, rule):
    operation = OPERATIONS[method, rule]
    store = client.post("/v1/vector_stores", json={"name": "s"}).json["id"]
    path = rule.replace("<store_id>", store).replace("<file_id>", "file-x").replace("<item_id>", "a")
    known = set(operation.body.model_fields)
    for name in sorted(known):
        response = client.open(path, method=method, json={name: object.__name__, "colour_of": 1})
        if response.status_code == 415:
            return  # a form only
        assert response.status_code == 400, response.text
        assert (
            response.json["error"]["param"] in {"colour_of", *known} or "[" in response.json["error"]["param"]
        )
        assert (
            response.json["error"]["code"] != "unknown_field"
            or response.json["error"]["param"] == "colour_of"
        )


def test_forms_tell_files_from_texts(document):
    form = document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["multipart/form-data"][
        "schema"
    ]
    assert form["properties"]["image"]["items"]["format"] == "binary"
    assert "format" not in form["properties"]["text"]["items"]
    assert {"fuse", "dimensions", "encoding_format"} <= set(form["properties"])
    assert "messages" not in form["properties"]


def test_the_page_brings_everything_with_it(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in ("swagger-ui/swagger-ui-bundle.js", "swagger-ui/swagger-ui.css", "js/docs.js"):
        [address] = [
            part.split('"')[0] for part in page.text.split('"/web/')[1:] if part.split('"')[0].endswith(name)
        ]
        with client.get(f"/web/{address}") as asset:
            assert asset.status_code == 200
