"""Figures of examples that are no pictures: series as small lines, tables by their columns.

Start reading at `drawing`, which tells series from tables; `cells` draws lines in rows, `columns` what the columns of tables have.
"""
