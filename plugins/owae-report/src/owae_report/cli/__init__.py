"""The commands of owae-report. Nothing heavy is imported before one runs."""
