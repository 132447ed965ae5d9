"""A measured pattern with its phases and prediction → files: JSON, report, plot, NeXus, records for lab notebooks."""
