"""A run as one HTML file: `document` puts it together of `judgement` (tables), `curves`, pictures and the `plane` with its viewer.

`parts` makes HTML, in which all text is escaped; `charts` draws lines as SVG; `network` reads decoders into what `viewer.js` evaluates.
"""
