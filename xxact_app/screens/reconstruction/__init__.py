"""The Reconstruction screen: masked windows and their reconstruction by the model."""
