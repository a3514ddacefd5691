"""Tables: Parquet, Arrow and CSV files, of numbers or of pictures, whole or in shards.

Start reading at `source.py`, the component; `files` finds and opens the files, `numbers`, `labels` and `images` read columns.
"""
