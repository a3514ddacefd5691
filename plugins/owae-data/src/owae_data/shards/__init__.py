"""Pictures in tar files, read by their place in the files: `source` is where to start reading, `index` finds the places."""
