"""Lines of plain numbers → an array, quickly; whatever is not plain is left to readers that can say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_PLAIN = re.compile(r"[0-9+\-.eE, ;\t\n]*")


def rows_to_numbers(lines: Sequence[str], *, separator: str, width: int) -> np.ndarray | None:
    """Numbers of the lines, shape (lines, width), or None where a line is not `width` plain numbers.

    separator: of the columns; " " stands for any blanks. Commas are decimals where they part no columns, stand in each
    angle, and no point is used beside them: then they cannot part thousands.
    """
    text = "\n".join(lines)
    if _PLAIN.fullmatch(text) is None:
        return None
    rows = [line.split() if separator == " " else line.split(separator) for line in lines]
    if any(len(row) != width for row in rows):
        return None
    if "," in text and separator != ",":
        if "." in text or not all("," in row[0] for row in rows):
            return None
        rows = [[field.replace(",", ".") for field in row] for row in rows]
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, width)
    except ValueError:
        return None
