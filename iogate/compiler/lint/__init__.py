"""Rules of `iogate lint`, for documents that are valid and probably not as intended; severities of findings.

The rules here look at a whole project, or ask for a habit that not every project needs; the checks in
`compiler.checks` find what is wrong in itself. A rule is a generator of problems and changes nothing.

    project         the documents of a project, as rules see them
    linter          all rules, severities by the settings, ignore comments
    secrets         literal secrets in workflows and debug cases
    exposure        APIs open to everyone at a public address, long retention
    debug_cases     APIs and schedules without a debug case
    side_effects    GET calls that change something
    input_fields    reads of fields that the input schema lacks
    callers         callers that no list of addresses, audience or TLS keeps out
    call_rules      keys of calls that no input has, limits without effect
    input_schemas   the schemas of the input of workflows and APIs
    input_files     contradictions between files and the input schema
    schema_members  the members that a JSON Schema describes
    unused_workflows  workflows that nothing starts
"""
