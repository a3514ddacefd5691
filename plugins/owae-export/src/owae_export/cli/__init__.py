"""One module a command; nothing heavy is imported before it runs."""
