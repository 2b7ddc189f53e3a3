"""``lb migrate``: configurations of other programs as lb.toml.

A *format* (a subpackage or module, listed in :mod:`lb.tools.migrate.formats`) reads a file and fills a
:class:`lb.tools.migrate.draft.Draft`. A :class:`lb.tools.migrate.migration.Migration` has the draft, and what became of
each directive. The rest is the same for all: :mod:`lb.tools.migrate.toml_text` writes the file,
:mod:`lb.tools.migrate.main` the summary.
"""
