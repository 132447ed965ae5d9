"""The widget of embeddings: a map of what models make of many materials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xxact_app.screens.embeddings import view as embedding
from xxact_app.screens.embeddings.store import EmbeddingMap
from xxact_app.session.session import Session
from xxact_app.ui.theme import grid_css
from xxact_app.widgets.coerce_embeddings import GivenEmbeddings
from xxact_app.widgets.display import Choice, NotebookWidget

if TYPE_CHECKING:
    from xxact_core.evaluation.embedded import Embedded

_CHOICES = grid_css("minmax(0, 300px) auto", ("colour part",), narrow=("colour", "part"), padding="16px 16px 0")


class EmbeddingView(NotebookWidget):
    """What models make of many materials, as a map; `selected` are those inside the user's lasso.

    `selected` (numbers), `colour` (name of a label) and `part` (fused, pattern or composition) may be set.
    """

    part, dark = Choice("map_part"), Choice()

    def __init__(
        self,
        *given: object,
        labels: Mapping[str, object] | None = None,
        dataset: str | Path | None = None,
    ) -> None:
        """Take files of `xxact embed` or `xxact evaluate --predictions`, arrays of shape (materials, width), xarray.

        Two of them are drawn side by side; a mapping names them. labels: name → one value for each material, numbers
        or words; `id` and `formula` say what arrays are of. Coordinates of a DataArray are labels, too. dataset: folder
        of the materials, so that the patterns of the selected ones are shown.

        Raises:
            DatasetError: names what cannot be used, and what was expected.
        """
        session = Session()
        folder = None if dataset is None else Path(dataset)
        self.embeddings = GivenEmbeddings(session, given, labels=labels, dataset=folder)
        self.view = embedding.EmbeddingsScreen(session, self.embeddings)
        for choice in (*self.view.models, self.view.materials):
            choice.visible = False  # they were chosen by who gave them
        self.view.part.visible = len(self.embeddings.parts) > 1
        self.view.asked.stylesheets = [_CHOICES]
        self.show_panel(session, self.view.panel)

    @property
    def map(self) -> EmbeddingMap:
        """What is drawn: places, silhouettes and labels."""
        assert isinstance(self.view.map, EmbeddingMap), "what was given has been checked"
        return self.view.map

    @property
    def selected(self) -> list[int]:
        """Numbers of the selected materials, in the order of the given ones."""
        return list(self.session.map_selected)

    @selected.setter
    def selected(self, numbers: list[int]) -> None:
        self.session.map_selected = sorted(int(number) for number in numbers)

    @property
    def materials(self) -> Embedded:
        """The materials on the map: ids, formulas and labels."""
        return self.map.embedded

    @property
    def colour(self) -> str:
        """Name of the label that colours the map."""
        return self.session.map_colour

    @colour.setter
    def colour(self, name: str) -> None:
        if name not in self.materials.targets:
            msg = f"there is no label {name!r}; choose from {tuple(self.materials.targets)}"
            raise ValueError(msg)
        self.session.map_colour = name
