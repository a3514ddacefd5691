"""`owae explore`: a trained stack to move in, in a browser on the own machine.

`session` computes what is shown, `server` answers a browser and refuses everybody else, `page` makes the page that `explore.js` drives,
and `cli` has the command. The viewer itself is that of `owae_report.page`.
"""
