"""Sphinx's settings of the site. ``build.py`` prepares its sources."""

from __future__ import annotations

from lb import __version__

project = "trio-lb"
release = version = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4  # the anchors that GitHub makes, to which the pages link
suppress_warnings = ["misc.highlighting_failure"]  # logs and settings are cut with "…", which is not in their languages
html_theme = "furo"
html_title = f"trio-lb {__version__}"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["narrow.css"]
html_theme_options = {
    "source_repository": "https://github.com/trio-lb/trio-lb/",
    "light_css_variables": {"font-stack": "system-ui, sans-serif"},
    "dark_css_variables": {"font-stack": "system-ui, sans-serif"},
}
nitpicky = True
