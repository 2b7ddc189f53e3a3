"""The pages of docs/reference, which are a part of the package: the sentences of the schema and of the man pages."""
