"""One folder a screen: its store, view, figures, text and export. No screen imports another."""
