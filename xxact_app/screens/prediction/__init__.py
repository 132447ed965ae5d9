"""The Answer screen: phases, symmetry, formation energy and band gap."""
