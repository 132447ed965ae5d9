"""Starting the server and guarding its requests."""
