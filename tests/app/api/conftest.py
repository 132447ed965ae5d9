from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_programs import Program, serving


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with serving() as port:
        yield Program(port)
