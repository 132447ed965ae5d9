"""Pattern or composition, or both → heads: the models that XxaCT-NN is held against, a module each."""
