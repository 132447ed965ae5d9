"""Structure → calculated reflections and symmetry."""
