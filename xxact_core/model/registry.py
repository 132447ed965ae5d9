"""The architectures: XxaCT and its baselines."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from xxact_core.model.baselines.crabnet import CrabNet
from xxact_core.model.baselines.extra_trees import ExtraTrees
from xxact_core.model.baselines.fcn import Fcn
from xxact_core.model.baselines.fcn_mlp import FcnMlp
from xxact_core.model.baselines.xrd_transformer import XrdTransformer
from xxact_core.model.config import ModelConfig
from xxact_core.model.model import Model
from xxact_core.model.xxact import Xxact


def config_to_model(config: ModelConfig, element_features: Float[Tensor, "elements features"]) -> Model:
    """A new model of the architecture that the config names, with random weights."""
    match config.architecture:
        case "xxact":
            return Xxact(config, element_features)
        case "crabnet":
            return CrabNet(config, element_features)
        case "xrd-transformer":
            return XrdTransformer(config)
        case "fcn":
            return Fcn(config)
        case "fcn-mlp":
            return FcnMlp(config)
        case "extra-trees":
            return ExtraTrees(config)
