"""Types of YAML values: each one reads a plain value into a typed one, and has a JSON Schema.

Used by `auth` and `settings`; `documents` shows the same errors with their positions. Pure, and without
pydantic, whose import takes longer than a command that only reads settings. `faults` has the errors,
`scalar_types` and `collection_types` the types, `semantic_versions` the order of versions. Invariant: all
errors of a record or a map are reported at once, each with its path.
"""
