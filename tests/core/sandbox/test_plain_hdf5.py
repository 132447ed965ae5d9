from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from looking_fixtures import embedded_of

from xxact_core import plain_hdf5
from xxact_core.errors import DatasetError
from xxact_core.evaluation.embeddings import read_embeddings, write_embeddings
from xxact_core.evaluation.tables import read_system_predictions
from xxact_core.plain_hdf5 import NotPlainError, UnreadableError, open_plain


def external_link(file: h5py.File, other: Path) -> None:
    file["more"] = h5py.ExternalLink(other, "id")


def soft_link_loop(file: h5py.File, _other: Path) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")


def external_data(file: h5py.File, _other: Path) -> None:
    file.create_dataset("more", shape=(8,), dtype="u1", external=[("/etc/hostname", 0, 8)])


def virtual_data(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(shape=(7,), dtype="f4")
    layout[:] = h5py.VirtualSource(other, "true/band_gap", shape=(7,))
    file.create_virtual_dataset("more", layout)


def huge_dimensions(file: h5py.File, _other: Path) -> None:
    del file["embedding"]
    file.create_dataset("embedding", shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024), compression="gzip")


def unknown_filter(file: h5py.File, _other: Path) -> None:
    file.create_dataset("more", shape=(64,), dtype="f4", chunks=(64,), compression="lzf")


def many_members(file: h5py.File, _other: Path) -> None:
    for number in range(plain_hdf5.MOST_MEMBERS + 1):
        file.create_group(str(number))


def deep_groups(file: h5py.File, _other: Path) -> None:
    file.create_group("/".join("g" * 100))


@pytest.mark.parametrize(
    "fault",
    [
        external_link, soft_link_loop, external_data, virtual_data, huge_dimensions, unknown_filter, many_members,
        deep_groups,
    ],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
def test_a_file_that_leads_out_of_itself_or_promises_too_much_is_refused(
    fault: Callable[[h5py.File, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_hdf5, "MOST_MEMBERS", 100)
    path, other = tmp_path / "foreign.h5", tmp_path / "other.h5"
    for place in (path, other):
        write_embeddings(place, embedded_of(7))
    assert len(read_embeddings(path)) == 7
    with h5py.File(path, "a") as file:
        fault(file, other)
    with pytest.raises(NotPlainError), open_plain(path):
        pass
    with pytest.raises(DatasetError, match=r"foreign\.h5"):
        read_embeddings(path)


def test_a_group_that_holds_itself_is_walked_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        group = file.create_group("a")
        group["again"] = group
        file["zeros"] = np.zeros(10)
    with open_plain(tmp_path / "loop.h5") as file:
        assert file["zeros"][...].sum() == 0


def test_what_compresses_best_is_not_taken_for_a_promise(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "zeros.h5", "w") as file:
        file.create_dataset("zeros", data=np.zeros(2**23, dtype="u1"), compression=9, shuffle=True, fletcher32=True)
    with open_plain(tmp_path / "zeros.h5") as file:
        assert file["zeros"].shape == (2**23,)


def test_a_netcdf_dimension_of_any_length_holds_nothing_and_is_no_promise(tmp_path: Path) -> None:
    path = tmp_path / "dimension.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("peak", shape=(2**20,), dtype="f4")
        file.create_dataset("intensity", data=np.zeros(2**20, dtype="u1"))
    with open_plain(path) as file:
        assert file["peak"].shape == (2**20,)
    with h5py.File(path, "a") as file:
        file.create_dataset("more", shape=(2**21,), dtype="f4")
    with pytest.raises(NotPlainError, match="more declares 2097152 values"), open_plain(path):
        pass


def test_file_that_cannot_be_opened_is_described_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "empty.h5").touch()
    expected = {
        "nope.h5": "there is no such file",
        ".": "it is a folder",
        "text.h5": "no HDF5 file",
        "empty.h5": "no HDF5",
    }
    for name, words in expected.items():
        with pytest.raises(DatasetError, match=words) as refusal:
            read_embeddings(tmp_path / name)
        assert "rrno" not in str(refusal.value)
        with pytest.raises(DatasetError, match=words):
            read_system_predictions(tmp_path / name)


def test_damaged_data_are_described_in_words(tmp_path: Path) -> None:
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("id", data=np.arange(4000), fletcher32=True, chunks=(4000,))
    content = bytearray(path.read_bytes())
    place = content.index(np.arange(2000, 2004).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="its data are damaged"), open_plain(path) as file:
        file["id"][...]
