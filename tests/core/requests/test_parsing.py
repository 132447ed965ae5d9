from __future__ import annotations

import json

import pytest

from xxact_core.errors import FormulaError, InputError, PatternError, ProcessingError, WavelengthError
from xxact_core.requests.identifying import IdentifyRequest, PhasesRequest
from xxact_core.requests.parsing import parse_form, parse_request
from xxact_core.requests.predicting import PredictRequest
from xxact_core.requests.reading import ReadPointsRequest
from xxact_core.requests.simulating import SimulateRequest
from xxact_core.setting_types import field_names, settings_schema
from xxact_core.training.config import Recipe

REQUESTS = (ReadPointsRequest, PredictRequest, IdentifyRequest, PhasesRequest, SimulateRequest)


def test_values_of_json_and_of_a_form_make_the_same_request() -> None:
    values = {"elements": ["Zn", "O"], "count": 3, "full": True, "wavelength": 1.5406}
    texts = {"elements": "Zn,O", "count": "3", "full": "True", "wavelength": "1.5406"}
    from_json, from_form = parse_request(IdentifyRequest, values), parse_form(IdentifyRequest, texts)
    assert from_json.states == from_form.states
    assert (from_json.count, from_json.full) == (from_form.count, from_form.full) == (3, True)
    angles = parse_form(SimulateRequest, {"two_theta_range": "[10, 40]"}).two_theta_range
    assert angles == parse_request(SimulateRequest, {"two_theta_range": [10, 40]}).two_theta_range == (10, 40)
    assert parse_form(SimulateRequest, {"two_theta_range": "10, 40"}).two_theta_range == (10, 40)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (PredictRequest, {"formula": "ZnO", "formel": 1}, "no setting 'formel'.*'formula'"),
        (PredictRequest, {}, "lacks formula"),
        (PredictRequest, {"formula": 3}, "formula is 3; expected a text"),
        (IdentifyRequest, {"count": True}, "count is True; expected a whole number"),
        (IdentifyRequest, {"count": 0}, "at least 1"),
        (IdentifyRequest, {"elements": ["Zn", 8]}, "elements has 8 as item 2; expected a text or a list of texts"),
        (SimulateRequest, {"two_theta_range": [10]}, r"two_theta_range is \(10,\); expected a list of 2 numbers"),
        (SimulateRequest, {"two_theta_range": [40, 10]}, "ascending"),
        (SimulateRequest, {"width": 1e-9}, "0.02-5"),
        (SimulateRequest, {"width": float("nan")}, "expected a number"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_the_name_of_the_field(
    kind: type, values: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse_request(kind, values)
    assert refused.value.code == "E_INPUT"


@pytest.mark.parametrize(
    ("kind", "values", "error"),
    [
        (PredictRequest, {"formula": "Zn0"}, FormulaError),
        (PredictRequest, {"formula": "ZnO", "processing": {"steps": [{"step": "polish"}]}}, ProcessingError),
        (PredictRequest, {"formula": "ZnO", "wavelength": "CuKx"}, WavelengthError),
        (ReadPointsRequest, {"scan": "last"}, PatternError),
        (IdentifyRequest, {"elements": "Zn,Q"}, FormulaError),
        (IdentifyRequest, {"elements": "Zn", "formula": "ZnO"}, FormulaError),
        (PhasesRequest, {"elements": "Zn,O", "exclude": "O"}, FormulaError),
    ],
)
def test_what_the_science_refuses_is_refused_before_a_file_is_read(
    kind: type, values: dict[str, object], error: type[InputError]
) -> None:
    with pytest.raises(error):
        parse_request(kind, values)


@pytest.mark.parametrize("kind", [*REQUESTS, Recipe], ids=lambda kind: kind.__name__)
def test_schema_describes_every_field(kind: type) -> None:
    schema = settings_schema(kind)
    assert list(schema["properties"]) == field_names(kind)
    assert all(described["description"] for described in schema["properties"].values())
    assert schema["additionalProperties"] is False
    json.dumps(schema, allow_nan=False)


def test_schema_has_the_types_defaults_and_required_fields() -> None:
    schema = settings_schema(PredictRequest)
    assert schema["required"] == ["formula"]
    assert schema["properties"]["formula"]["type"] == "string"
    override = schema["properties"]["override_coverage"]
    assert (override["type"], override["default"]) == ("boolean", False)
    assert override["description"] == "Predict even if less than 30 % of the 2θ range was measured."
    angles = settings_schema(SimulateRequest)["properties"]["two_theta_range"]
    assert (angles["type"], angles["minItems"], angles["maxItems"]) == ("array", 2, 2)
    assert angles["default"] == [5.0, 90.0]
