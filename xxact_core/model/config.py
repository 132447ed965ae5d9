"""Sizes of the models as frozen values, and the presets by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from xxact_core.errors import RecipeError
from xxact_core.quantities import PREDICTED, TARGETS
from xxact_core.setting_types import check_names, check_types, field_names
from xxact_core.stored_names import rename_model

Architecture = Literal["xxact", "crabnet", "xrd-transformer", "fcn", "fcn-mlp", "extra-trees"]
Tokenizer = Literal["windows", "convolution"]
IntensityScale = Literal["linear", "sqrt", "sqrt_and_log"]
Decoder = Literal["linear", "peaks"]

MAX_PEAK_TOKENS = 512
"""Upper limit of `peak_tokens`, more peaks than a powder pattern resolves."""

MAX_HEAD_HIDDEN_WIDTH = 8192
"""Upper limit of `head_hidden_width`, far above the width of any embedding here."""


@dataclass(frozen=True)
class BlockSizes:
    """Sizes of a stack of transformer layers."""

    width: int
    """Features of a token; a multiple of 4 and of `heads`."""

    depth: int
    """Number of layers, at least 1."""

    heads: int
    """Attention heads of a layer."""

    feedforward: int
    """Hidden width of the feed-forward network of a layer."""

    dropout: float = 0.1
    """Dropout probability, in [0, 1)."""

    def __post_init__(self) -> None:
        """Check that the heads divide the width."""
        if min(self.width, self.heads, self.feedforward) < 1:
            msg = f"width {self.width}, heads {self.heads} and feedforward {self.feedforward} must be at least 1"
            raise RecipeError(msg, code="E_RECIPE")
        if self.width % self.heads or self.width % 4:
            msg = f"the width {self.width} must be divisible by 4 and by the {self.heads} heads"
            raise RecipeError(msg, code="E_RECIPE")
        if self.depth < 1 or not 0 <= self.dropout < 1:
            msg = f"depth {self.depth} must be at least 1 and dropout {self.dropout} in [0, 1)"
            raise RecipeError(msg, code="E_RECIPE")


@dataclass(frozen=True)
class ForestSizes:
    """Sizes of the architecture `extra-trees`: two settings, and the size of the grown forest."""

    trees: int = 300
    """Number of trees, at least 1."""

    min_samples_leaf: int = 1
    """Fewest training materials in a leaf, at least 1."""

    nodes: int = 0
    """Nodes of all trees together; 0 before they are grown. Set by the training."""

    leaves: int = 0
    """Different leaves of all trees together; 0 before they are grown. Set by the training."""

    def __post_init__(self) -> None:
        """Check that trees and leaves are at least 1."""
        if min(self.trees, self.min_samples_leaf) < 1 or min(self.nodes, self.leaves) < 0:
            msg = f"a forest needs at least one tree and leaves of at least one material, not {self}"
            raise RecipeError(msg, code="E_RECIPE")


@dataclass(frozen=True)
class ModelConfig:
    """A complete model.

    Each architecture uses the sizes of the parts that it has; those of FCN and FCN+MLP are fixed.
    """

    pattern: BlockSizes
    """Sizes of the pattern encoder."""

    composition: BlockSizes
    """Sizes of the composition encoder; its width is that of the pattern encoder."""

    fusion: BlockSizes
    """Sizes of the fusion, whose layers have self-attention and cross-attention."""

    architecture: Architecture = "xxact"
    """`xxact`, or a baseline: `crabnet` reads the composition, `xrd-transformer`, `fcn` and `extra-trees` the pattern,
    `fcn-mlp` both."""

    tokenizer: Tokenizer = "windows"
    """`windows`: the paper's 17 windows, each through one linear map; `convolution`: a convolutional stem instead."""

    tokens_per_window: int = 1
    """Tokens that each of the 17 windows is cut into: 1 or 5."""

    peak_tokens: int = 0
    """Number of the strongest peaks that become additional tokens, 0 to 512."""

    intensity_scale: IntensityScale = "linear"
    """Intensities as the model reads them: `linear`, I/100; `sqrt`, √(I/100), which lifts weak peaks; `sqrt_and_log`,
    that and a logarithm as two channels."""

    stem_channels: tuple[int, int, int] = (32, 64, 160)
    """Channels of the three stages of the convolution stem."""

    skip_to_heads: bool = False
    """Add the composition's [CLS] and a readout of the encoded windows to the fused [CLS], bypassing the fusion."""

    element_readout: bool = False
    """Add a mean over a two-layer network of each encoded element to the fused [CLS], bypassing the fusion."""

    peak_ratios: int = 0
    """Number of the strongest peaks whose ratios of spacings are added to the fused [CLS], bypassing the fusion; 0 for
    none, at most 512."""

    head_hidden_width: int = 0
    """Hidden width of the target heads, which then have two hidden layers; 0 for linear heads, at most 8192."""

    embedding_width: int = 0
    """Width of an embedding of the fused [CLS] that the class heads read linearly, so that symmetry orders it; values
    read the fused [CLS] itself. 0 where all heads read the fused [CLS]; at most 8192."""

    composition_estimate: bool = False
    """Formation energy as an estimate from the composition alone plus a correction from the fused [CLS]."""

    teacher_offset: bool = False
    """A head for the difference between the energies of a teacher and of DFT, so that one model learns from both."""

    metal_head: bool = False
    """Band gap as a value times a gate, which is 0 where a metal is more probable than not."""

    decoder: Decoder = "linear"
    """Reconstruction of masked windows: `linear`, the paper's linear map of each fused window, or `peaks`, convolutions
    over copies of the visible peaks at related spacings, which place sharp peaks."""

    forest: ForestSizes = ForestSizes()
    """Sizes of `extra-trees`."""

    targets: tuple[str, ...] = PREDICTED
    """Names of the quantities that the model predicts, one head each."""

    def __post_init__(self) -> None:
        """Check the settings against each other."""
        if self.pattern.width != self.composition.width:
            msg = f"contrastive alignment needs encoders of one width, not {self.pattern.width} and "
            msg += f"{self.composition.width}"
            raise RecipeError(msg, code="E_RECIPE")
        for name, value, choices in (
            ("architecture", self.architecture, get_args(Architecture)),
            ("tokenizer", self.tokenizer, get_args(Tokenizer)),
            ("tokens_per_window", self.tokens_per_window, (1, 5)),
            ("intensity_scale", self.intensity_scale, get_args(IntensityScale)),
            ("decoder", self.decoder, get_args(Decoder)),
        ):
            if value not in choices:
                msg = f"{name} is {value!r}; choose from {', '.join(map(str, choices))}"
                raise RecipeError(msg, code="E_RECIPE")
        if not 0 <= self.peak_tokens <= MAX_PEAK_TOKENS:
            msg = f"peak_tokens is {self.peak_tokens}; expected 0 to {MAX_PEAK_TOKENS}"
            raise RecipeError(msg, code="E_RECIPE")
        if not 0 <= self.peak_ratios <= MAX_PEAK_TOKENS:
            msg = f"peak_ratios is {self.peak_ratios}; expected 0 to {MAX_PEAK_TOKENS}"
            raise RecipeError(msg, code="E_RECIPE")
        if (self.skip_to_heads or self.element_readout or self.peak_ratios) and self.architecture != "xxact":
            msg = "skip_to_heads, element_readout and peak_ratios bypass the fusion, which only the architecture "
            msg += f"'xxact' has, not {self.architecture!r}"
            raise RecipeError(msg, code="E_RECIPE")
        if (self.embedding_width or self.composition_estimate or self.decoder != "linear") and (
            self.architecture != "xxact"
        ):
            msg = "embedding_width, composition_estimate and the decoder 'peaks' need the fused [CLS], which only the "
            msg += f"architecture 'xxact' has, not {self.architecture!r}"
            raise RecipeError(msg, code="E_RECIPE")
        if not 0 <= self.embedding_width <= MAX_HEAD_HIDDEN_WIDTH:
            msg = f"embedding_width is {self.embedding_width}; expected 0 to {MAX_HEAD_HIDDEN_WIDTH}"
            raise RecipeError(msg, code="E_RECIPE")
        if self.decoder == "peaks" and self.intensity_scale == "linear":
            msg = "the decoder 'peaks' needs the intensity_scale 'sqrt' or 'sqrt_and_log', not 'linear'"
            raise RecipeError(msg, code="E_RECIPE")
        width = self.head_hidden_width
        if not 0 <= width <= MAX_HEAD_HIDDEN_WIDTH or (width and self.architecture == "extra-trees"):
            msg = f"head_hidden_width is {width}; expected 0 to {MAX_HEAD_HIDDEN_WIDTH}, and 0 for trees, which have "
            msg += "no heads"
            raise RecipeError(msg, code="E_RECIPE")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or not self.targets:
            msg = f"targets {unknown or '()'} are not known; choose from {', '.join(TARGETS)}"
            raise RecipeError(msg, code="E_RECIPE")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; settings of version 0.1.0 are read under their former names, too.

        Raises:
            RecipeError: a setting is unknown, given under two names, or of another type.
        """
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in rename_model(values, owner="the model").items()
        }
        check_names("the model", plain, known=field_names(cls))
        sizes = {"pattern": BlockSizes, "composition": BlockSizes, "fusion": BlockSizes, "forest": ForestSizes}
        for name in sizes.keys() & plain.keys():
            check_names(f"the model's {name}", plain[name], known=field_names(sizes[name]))
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
    # The same architecture with about a thirtieth of the parameters, for a small GPU or a slow CPU.
    "small": _SMALL,
    # The same with about a hundredth, for hundreds of epochs in a day on two CPU cores; without dropout, because so
    # small a model fits 100,000 materials too little rather than too much.
    "narrow": ModelConfig(
        pattern=BlockSizes(width=128, depth=2, heads=4, feedforward=256, dropout=0.0),
        composition=BlockSizes(width=128, depth=2, heads=4, feedforward=512, dropout=0.0),
        fusion=BlockSizes(width=128, depth=3, heads=4, feedforward=256, dropout=0.0),
    ),
    # The same architecture for tests and tutorials: trains in seconds on a CPU.
    "tiny": ModelConfig(
        pattern=BlockSizes(width=32, depth=1, heads=2, feedforward=64),
        composition=BlockSizes(width=32, depth=1, heads=2, feedforward=64),
        fusion=BlockSizes(width=32, depth=1, heads=2, feedforward=64),
    ),
    # For about 100,000 materials and a laptop: convolution stem, weak peaks lifted, skip connections to the heads.
    "compact": ModelConfig(
        pattern=BlockSizes(width=192, depth=1, heads=4, feedforward=384, dropout=0.1),
        composition=BlockSizes(width=192, depth=2, heads=4, feedforward=384, dropout=0.1),
        fusion=BlockSizes(width=192, depth=2, heads=4, feedforward=384, dropout=0.1),
        tokenizer="convolution",
        intensity_scale="sqrt_and_log",
        skip_to_heads=True,
    ),
    # The baselines of XxaCT-NN in the paper's sizes and, where there is a size to choose, in those of `small`.
    "crabnet": replace(_PAPER, architecture="crabnet"),
    "crabnet-small": replace(_SMALL, architecture="crabnet"),
    "xrd-transformer": replace(_PAPER, architecture="xrd-transformer"),
    "xrd-transformer-small": replace(_SMALL, architecture="xrd-transformer"),
    "fcn": replace(_PAPER, architecture="fcn"),
    "fcn-mlp": replace(_PAPER, architecture="fcn-mlp"),
    # Trees on peak positions, the cheapest baseline; its only sizes are those of the forest. With leaves of three
    # materials the trees of 90,000 materials take 93 MB; with leaves of one 275 MB, for 1 to 2 % more correct systems.
    "extra-trees": replace(
        _SMALL, architecture="extra-trees", forest=ForestSizes(min_samples_leaf=3), targets=("crystal_system",)
    ),
}


def preset(name: str) -> ModelConfig:
    """A preset by name.

    Raises:
        RecipeError: there is no such preset.
    """
    if name not in PRESETS:
        msg = f"there is no preset {name!r}; choose from {', '.join(PRESETS)}"
        raise RecipeError(msg, code="E_RECIPE")
    return PRESETS[name]
