"""One training on several devices: starting the processes, gathering codes, batch norm over all rows.

May import: the files of owae itself, model, data.
Start reading at `launch.py`: where the processes come from.
"""
