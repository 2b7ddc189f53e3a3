"""``lb help``: the manual, as man pages and as plain text, from the pages of docs/reference and the command line."""
