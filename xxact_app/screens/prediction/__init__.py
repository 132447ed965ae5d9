"""The Prediction screen: symmetry, energies and matching reference phases."""
