from __future__ import annotations

import json
from pathlib import Path

import pytest

from xxact_app.api.tokens import TOKENS_VARIABLE, Tokens, given_tokens, read_tokens
from xxact_core.errors import InputError

TOKEN = "a-token-of-sixteen-characters-or-more"  # noqa: S105 - of these tests alone


def test_a_token_is_known_by_the_name_that_the_file_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"robot": TOKEN, "notebook": TOKEN[::-1]}))
    file.chmod(0o600)
    tokens = read_tokens(file)
    assert tokens.name_of(f"Bearer {TOKEN}") == "robot"
    assert tokens.name_of(f"bearer  {TOKEN[::-1]} ") == "notebook"
    monkeypatch.setenv(TOKENS_VARIABLE, str(file))
    known = given_tokens()
    assert known is not None
    assert known.name_of(f"Bearer {TOKEN}") == "robot"
    monkeypatch.delenv(TOKENS_VARIABLE)
    assert given_tokens() is None


@pytest.mark.parametrize("header", ["", TOKEN, f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"])
def test_anything_else_is_no_token(header: str) -> None:
    assert Tokens({"robot": TOKEN}).name_of(header) is None


def test_tokens_are_not_kept_as_text() -> None:
    assert TOKEN not in repr(vars(Tokens({"robot": TOKEN})))


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("[]", 0o600, "holds no tokens"),
        ('{"robot": "short"}', 0o600, "at least 16"),
        ('{"robot": "a token of sixteen characters or more"}', 0o600, "without spaces"),
        ('{"robot": "schlüssel-zur-messung"}', 0o600, "holds no tokens"),
        ("robot:x", 0o600, "cannot be read as JSON"),
        (json.dumps({"robot": TOKEN}), 0o640, "chmod 600"),
    ],
)
def test_a_file_that_holds_no_tokens_or_that_others_can_read_is_refused(
    content: str, mode: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(InputError, match=said) as refused:
        read_tokens(file)
    assert refused.value.code == "E_APP"
    with pytest.raises(InputError, match=r"nowhere\.json"):
        read_tokens(tmp_path / "nowhere.json")
