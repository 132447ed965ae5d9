"""The embedding widget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xxact_app.screens.embeddings import view as embedding
from xxact_app.screens.embeddings.store import EmbeddingMap
from xxact_app.session.session import Session
from xxact_app.ui.theme import grid_css
from xxact_app.widgets.coerce_embeddings import PassedEmbeddings
from xxact_app.widgets.display import NotebookWidget, SessionSetting

if TYPE_CHECKING:
    from xxact_core.evaluation.embeddings import Embeddings

_CHOICES = grid_css(
    "minmax(0, 300px) auto auto",
    ("colour part projection",),
    narrow=("colour", "part", "projection"),
    padding="16px 16px 0",
)


class EmbeddingView(NotebookWidget):
    """A map of the embeddings of many materials by one or two models.

    `selected` (indices of the materials inside the lasso), `colour` (name of a label), `part` (`fused`, `pattern` or
    `composition`) and `projection` (`pca` or `t-sne`) can be read and set.
    """

    part, projection, dark = SessionSetting("map_part"), SessionSetting("map_projection"), SessionSetting()

    def __init__(
        self,
        *inputs: object,
        labels: Mapping[str, object] | None = None,
        dataset: str | Path | None = None,
    ) -> None:
        """Draw embeddings of one model, or of two side by side.

        Args:
            inputs: files of `xxact embed` or `xxact evaluate --predictions`, arrays or DataArrays of shape
                (materials, width), or a mapping of names to these.
            labels: name → one number or text per material; `id` and `formula` name the materials of arrays.
                Coordinates of a DataArray are labels, too.
            dataset: folder of the dataset of the materials, to show the patterns of selected ones.

        Raises:
            DatasetError: an input is invalid; the message names it.
        """
        session = Session()
        folder = None if dataset is None else Path(dataset)
        self.embeddings = PassedEmbeddings(session, inputs, labels=labels, dataset=folder)
        self.view = embedding.EmbeddingsScreen(session, self.embeddings)
        for choice in (*self.view.models, self.view.materials):
            choice.visible = False  # fixed by the inputs
        self.view.part.visible = len(self.embeddings.parts) > 1
        self.view.asked.stylesheets = [_CHOICES]
        self.show_panel(session, self.view.panel)

    @property
    def map(self) -> EmbeddingMap:
        """The map: coordinates, silhouette coefficients and labels."""
        assert isinstance(self.view.map, EmbeddingMap), "the inputs were checked"
        return self.view.map

    @property
    def selected(self) -> list[int]:
        """Indices of the selected materials."""
        return list(self.session.map_selected)

    @selected.setter
    def selected(self, numbers: list[int]) -> None:
        self.session.map_selected = sorted(int(number) for number in numbers)

    @property
    def materials(self) -> Embeddings:
        """The materials on the map: ids, formulas and labels."""
        return self.map.embedded

    @property
    def colour(self) -> str:
        """Name of the label that the map is coloured by."""
        return self.session.map_colour

    @colour.setter
    def colour(self, name: str) -> None:
        if name not in self.materials.targets:
            msg = f"there is no label {name!r}; expected one of {', '.join(self.materials.targets)}"
            raise ValueError(msg)
        self.session.map_colour = name
