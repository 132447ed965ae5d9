"""The Reconstruction screen: masked windows and what the model expects in them."""
