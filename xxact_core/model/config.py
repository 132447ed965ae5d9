"""What a model is made of: sizes as frozen values, and the presets by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from xxact_core.errors import RecipeError
from xxact_core.quantities import PREDICTED, TARGETS
from xxact_core.setting_types import check_types

Kind = Literal["xxact", "crabnet", "xrd-transformer", "fcn", "fcn-mlp", "extra-trees"]

MOST_PEAKS = 512
"""More lines than a pattern shows apart."""

WIDEST_HEAD = 8192
"""Far more than an embedding has to tell; a number beyond it is a slip."""


@dataclass(frozen=True)
class BlockSizes:
    """Sizes of a stack of transformer layers."""

    width: int
    depth: int
    heads: int
    feedforward: int
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check that the heads divide the width."""
        if self.width % self.heads or self.width % 4:
            msg = f"the width {self.width} must be divisible by 4 and by the {self.heads} heads"
            raise RecipeError(msg, code="E_RECIPE")
        if self.depth < 1 or not 0 <= self.dropout < 1:
            msg = f"depth {self.depth} must be at least 1 and dropout {self.dropout} in [0, 1)"
            raise RecipeError(msg, code="E_RECIPE")


@dataclass(frozen=True)
class ForestSizes:
    """Sizes of the kind `extra-trees`: what is asked for, and what it grew to.

    smallest_leaf: fewest training materials in a leaf. nodes, leaves: nodes of all trees together, and different leaves
    among them; 0 until they are grown.
    """

    trees: int = 300
    smallest_leaf: int = 1
    nodes: int = 0
    leaves: int = 0

    def __post_init__(self) -> None:
        """Check that there is something to grow."""
        if min(self.trees, self.smallest_leaf) < 1 or min(self.nodes, self.leaves) < 0:
            msg = f"a forest needs at least one tree and leaves of at least one material, not {self}"
            raise RecipeError(msg, code="E_RECIPE")


@dataclass(frozen=True)
class ModelConfig:
    """A complete model.

    kind: XxaCT (`xxact`), or a baseline of the paper: `crabnet` reads the composition, `xrd-transformer` and `fcn` the
    pattern, `fcn-mlp` both; or `extra-trees` on the lines of the pattern. A kind takes the sizes of the parts that it
    has; those of FCN and FCN+MLP are fixed.
    tokens: `windows` are the paper's 17 windows through one linear map; `convolution` puts a convolution stem before
    them that sees lines at 0.02° before they are cut. tokens_per_window: 1, or finer tokens, 5 a window. peaks: so many
    of the strongest lines are tokens of their own beside the windows. intensity: the model reads I/100 (`linear`),
    √(I/100) (`root`, which lifts weak lines) or √ and logarithm side by side (`both`). shortcuts_to_heads: add to what
    the heads read, the fused [CLS], the composition's own [CLS] and a two-layer readout of the XRD encoder's windows,
    so that neither has to pass through the fusion.
    """

    pattern: BlockSizes
    composition: BlockSizes
    fusion: BlockSizes
    kind: Kind = "xxact"
    tokens: Literal["windows", "convolution"] = "windows"
    tokens_per_window: int = 1
    peaks: int = 0
    intensity: Literal["linear", "root", "both"] = "linear"
    stem_channels: tuple[int, int, int] = (32, 64, 160)
    shortcuts_to_heads: bool = False
    element_readout: bool = False
    head_width: int = 0
    forest: ForestSizes = ForestSizes()
    targets: tuple[str, ...] = PREDICTED

    def __post_init__(self) -> None:
        """Check what no single part can know."""
        if self.pattern.width != self.composition.width:
            msg = f"contrastive alignment needs encoders of one width, not {self.pattern.width} and "
            msg += f"{self.composition.width}"
            raise RecipeError(msg, code="E_RECIPE")
        for name, value, choices in (
            ("kind", self.kind, get_args(Kind)),
            ("tokens", self.tokens, ("windows", "convolution")),
            ("tokens_per_window", self.tokens_per_window, (1, 5)),
            ("intensity", self.intensity, ("linear", "root", "both")),
        ):
            if value not in choices:
                msg = f"{name} is {value!r}; choose from {choices}"
                raise RecipeError(msg, code="E_RECIPE")
        if not 0 <= self.peaks <= MOST_PEAKS:
            msg = f"peaks is {self.peaks}; expected 0 to {MOST_PEAKS}"
            raise RecipeError(msg, code="E_RECIPE")
        if (self.shortcuts_to_heads or self.element_readout) and self.kind != "xxact":
            msg = f"shortcuts_to_heads and element_readout go with the kind 'xxact', not {self.kind!r}: there is no "
            msg += "fusion to pass by"
            raise RecipeError(msg, code="E_RECIPE")
        if not 0 <= self.head_width <= WIDEST_HEAD or (self.head_width and self.kind == "extra-trees"):
            msg = f"head_width is {self.head_width}; expected 0 to {WIDEST_HEAD}, and 0 for trees, which have no heads"
            raise RecipeError(msg, code="E_RECIPE")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or not self.targets:
            msg = f"targets {unknown or '()'} are not known; choose from {tuple(TARGETS)}"
            raise RecipeError(msg, code="E_RECIPE")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; an unknown key is an error."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            msg = f"the model has no setting {unknown}; it has {sorted(known)}"
            raise RecipeError(msg, code="E_RECIPE")
        sizes = {"pattern": BlockSizes, "composition": BlockSizes, "fusion": BlockSizes, "forest": ForestSizes}
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        for name in sizes.keys() & plain.keys():
            unknown = sorted(set(plain[name]) - {item.name for item in fields(sizes[name])})
            if unknown:
                msg = f"the model's {name} has no setting {unknown}"
                raise RecipeError(msg, code="E_RECIPE")
            check_types(f"the model's {name}", sizes[name], plain[name])
            plain[name] = sizes[name](**plain[name])
        check_types("the model", cls, plain)
        return cls(**plain)


_PAPER = ModelConfig(
    pattern=BlockSizes(width=512, depth=3, heads=4, feedforward=1024),
    composition=BlockSizes(width=512, depth=3, heads=4, feedforward=2048),
    fusion=BlockSizes(width=768, depth=12, heads=12, feedforward=2048),
)
_SMALL = ModelConfig(
    pattern=BlockSizes(width=192, depth=2, heads=4, feedforward=384),
    composition=BlockSizes(width=192, depth=2, heads=4, feedforward=768),
    fusion=BlockSizes(width=256, depth=3, heads=8, feedforward=512),
)

PRESETS: dict[str, ModelConfig] = {
    # XxaCT-NN section 3.1 and CrabNet: about 112 M parameters.
    "paper": _PAPER,
    # The same text at about a thirtieth of the size, for a small GPU or a patient CPU.
    "small": _SMALL,
    # The same text for tests and lessons: seconds on a CPU.
    "tiny": ModelConfig(
        pattern=BlockSizes(width=32, depth=1, heads=2, feedforward=64),
        composition=BlockSizes(width=32, depth=1, heads=2, feedforward=64),
        fusion=BlockSizes(width=32, depth=1, heads=2, feedforward=64),
    ),
    # For about 100,000 materials and a laptop: a convolution stem, weak lines lifted, the composition led to the heads.
    "compact": ModelConfig(
        pattern=BlockSizes(width=192, depth=1, heads=4, feedforward=384, dropout=0.1),
        composition=BlockSizes(width=192, depth=2, heads=4, feedforward=384, dropout=0.1),
        fusion=BlockSizes(width=192, depth=2, heads=4, feedforward=384, dropout=0.1),
        tokens="convolution",
        intensity="both",
        shortcuts_to_heads=True,
    ),
    # What XxaCT-NN is held against, in the paper's sizes and, of what has a size to choose, in those of `small`.
    "crabnet": replace(_PAPER, kind="crabnet"),
    "crabnet-small": replace(_SMALL, kind="crabnet"),
    "xrd-transformer": replace(_PAPER, kind="xrd-transformer"),
    "xrd-transformer-small": replace(_SMALL, kind="xrd-transformer"),
    "fcn": replace(_PAPER, kind="fcn"),
    "fcn-mlp": replace(_PAPER, kind="fcn-mlp"),
    # What costs nothing: trees on the lines of a pattern, which have no sizes but those of their forest. With leaves of
    # three the trees of 90,000 materials take 93 MB; of one, 275 MB for 1 to 2 % more right crystal systems.
    "extra-trees": replace(
        _SMALL, kind="extra-trees", forest=ForestSizes(smallest_leaf=3), targets=("crystal_system",)
    ),
}


def preset(name: str) -> ModelConfig:
    """A preset by name.

    Raises:
        RecipeError: there is no such preset.
    """
    if name not in PRESETS:
        msg = f"there is no preset {name!r}; choose from {tuple(PRESETS)}"
        raise RecipeError(msg, code="E_RECIPE")
    return PRESETS[name]
