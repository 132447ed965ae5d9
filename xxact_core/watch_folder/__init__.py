"""A folder that is watched: every new pattern file is analysed once, and its answer written beside those before."""
