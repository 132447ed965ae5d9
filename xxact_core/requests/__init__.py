"""What is asked of a pattern: settings with a schema, and the JSON that answers, for the command line and programs."""
