"""Ids of the shipped table with labels → the ids by which people know its materials."""

from __future__ import annotations

from functools import cache

from xxact_core.shipped import TABLE, shipped_path


def public_id(identity: str) -> str:
    """The id by which a material is known; empty where its own id means nothing to people.

    Ids that the shipped table does not contain are returned as they are.

    Raises:
        InstallationError: the installation lacks the table (E_INSTALLATION).
    """
    return _public_ids().get(identity, identity)


@cache
def _public_ids() -> dict[str, str]:
    """Public ids by id, empty where there is none, of the rows for which the two differ."""
    from pyarrow import parquet  # noqa: PLC0415 - only where materials of the table are shown

    with parquet.ParquetFile(shipped_path(TABLE)) as file:
        columns = file.read(columns=["id", "public_id"], use_threads=False)
    pairs = zip(columns.column("id").to_pylist(), columns.column("public_id").to_pylist(), strict=True)
    return {identity: public or "" for identity, public in pairs if public != identity}
