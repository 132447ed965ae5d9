"""The paper's tables and figures, from a data set to the page."""
