"""Pattern + elements → the known materials that it agrees with, and whether one of them is enough."""
