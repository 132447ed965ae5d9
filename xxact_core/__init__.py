"""XxaCT: what a material is, read from its powder diffractogram and its composition."""
