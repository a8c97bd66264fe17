"""Phones and outcomes as annotations and response models of FastAPI and pydantic."""

import json
import subprocess
import sys
from typing import Annotated
from uuid import UUID

import attrs
import pytest
from fakes import phone_fields
from strategies import payload

from diga_async import (
    Failed,
    Found,
    Missing,
    Phone,
    PhoneBatch,
    PhonePage,
    RateLimitError,
    SipConfig,
)
from diga_async._models.outcomes import row_of

pydantic = pytest.importorskip("pydantic")
fastapi = pytest.importorskip("fastapi")

PHONE = Phone.from_dict(payload("future"))
X = UUID(int=7)
OUTCOMES = [
    Found(X, PHONE, 1, 0.1),
    Missing(X, 1, 0.1),
    Failed(X, RateLimitError("slow down", status=429), 2, 0.1),
]
PAGE = PhonePage(phones=(PHONE,), cursor=X, has_more=True, total_pages=None)
BATCH = PhoneBatch(
    phones={PHONE.id: PHONE},
    missing=(X,),
    failures={"no id": RateLimitError("slow down", status=429)},
    unanswered=("later", X),
)


@pytest.fixture(scope="module")
def schemas() -> dict:
    app = fastapi.FastAPI()

    @app.get("/one")
    async def one() -> Phone:
        return PHONE

    @app.post("/many")
    async def many(phone: Annotated[Phone, fastapi.Body()]) -> list[Phone]:
        return [phone]

    @app.get("/outcome")
    async def outcome() -> Found | Missing:
        return OUTCOMES[1]

    @app.get("/page")
    async def page() -> PhonePage:
        return PAGE

    @app.get("/batch")
    async def batch() -> PhoneBatch:
        return BATCH

    return app.openapi()["paths"]


def answered(paths: dict, path: str, method: str = "get") -> dict:
    content = paths[path][method]["responses"]["200"]["content"]
    return content["application/json"]["schema"]


@pytest.mark.parametrize("value", [PHONE, PHONE.sip_config or SipConfig()])
def test_a_record_is_written_as_its_dictionary(value: object) -> None:
    adapter = pydantic.TypeAdapter(type(value))
    plain = adapter.dump_python(value, mode="json")

    assert json.loads(adapter.dump_json(value)) == plain
    assert adapter.validate_python(plain) == value
    assert adapter.validate_python(value) is value
    if isinstance(value, Phone):
        assert plain == value.to_dict()
    else:
        assert plain == PHONE.to_dict()["sip_config"] or plain


def test_a_wrong_record_is_a_validation_error_without_its_value() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(Phone).validate_python(phone_fields(number=17))

    assert "$.number" in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: type(o).__name__)
def test_an_outcome_is_written_as_the_row_of_the_command(outcome: object) -> None:
    adapter = pydantic.TypeAdapter(type(outcome))

    assert adapter.dump_python(outcome, mode="json") == row_of(outcome)
    with pytest.raises(pydantic.ValidationError):
        adapter.validate_python(row_of(outcome))


def test_a_page_and_a_batch_are_written_as_json() -> None:
    page = json.loads(pydantic.TypeAdapter(PhonePage).dump_json(PAGE))
    batch = json.loads(pydantic.TypeAdapter(PhoneBatch).dump_json(BATCH))

    assert page == {
        "phones": [PHONE.to_dict()],
        "cursor": str(X),
        "has_more": True,
        "total_pages": None,
    }
    assert batch == {
        "phones": {str(PHONE.id): PHONE.to_dict()},
        "missing": [str(X)],
        "failures": {"no id": row_of(OUTCOMES[2])["error"]},
        "unanswered": ["later", str(X)],
    }


@pytest.mark.parametrize(
    ("path", "kind"), [("/page", PhonePage), ("/batch", PhoneBatch)]
)
def test_the_schema_of_a_page_and_a_batch_has_each_of_their_fields(
    schemas: dict, path: str, kind: type
) -> None:
    schema = answered(schemas, path)

    assert schema["required"] == list(schema["properties"])
    assert list(schema["properties"]) == [a.name for a in attrs.fields(kind)]


def test_the_schema_names_every_field_and_allows_unknown_ones(schemas: dict) -> None:
    schema = answered(schemas, "/one")

    assert list(schema["properties"]) == list(Phone.from_dict(phone_fields()).to_dict())
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is True
    assert schema["properties"]["id"]["format"] == "uuid"


def test_the_schema_requires_of_a_request_what_the_api_requires(schemas: dict) -> None:
    body = schemas["/many"]["post"]["requestBody"]["content"]["application/json"]

    assert body["schema"]["required"] == [
        "id",
        "number",
        "telephony_provider",
        "status",
    ]
    assert answered(schemas, "/many", "post")["items"]["title"] == "Phone"


def test_the_schema_leaves_enums_open(schemas: dict) -> None:
    status = answered(schemas, "/one")["properties"]["status"]

    assert "assigned" in status["anyOf"][0]["enum"]
    assert status["anyOf"][1] == {"type": "string"}


def test_the_schema_of_an_outcome_is_its_row(schemas: dict) -> None:
    found, missing = answered(schemas, "/outcome")["anyOf"]

    assert found["properties"]["phone"]["title"] == "Phone"
    assert missing["properties"]["outcome"]["const"] == "missing"


def test_pydantic_is_imported_only_when_it_asks() -> None:
    code = "import sys; from diga_async import Phone; print('pydantic' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert said.stdout == "False\n"
