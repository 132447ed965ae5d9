"""The Prediction screen: symmetry, formation energy, band gap and matching reference phases."""
