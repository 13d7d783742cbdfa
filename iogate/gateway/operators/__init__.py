"""HTTP API of operators: routes over the functions of `iogate.operators`. Without the setting, it is absent.

    operation          declaration of a route: path, role, parameters, action, handler
    operations         table of all routes
    operator_api       from a request to its response: checks, execution, record, errors
    authentication     from a request to its actor: bearer token, or session of the console
    large_requests     processes for requests with large bodies
    parameters         strict reading of queries and bodies
    idempotency        repeated changes with an Idempotency-Key
    error_responses    errors of `iogate.errors` as responses
    api_routes         APIs: list, show, switch, debug cases
    workflow_routes    workflows and schedules
    revision_routes    revisions: list, show, difference, rollback, publication
    status_routes      overview
    run_routes         show, follow and change a run
    batch_routes       bulk actions on runs
    activity_routes    recorded changes
    openapi_operations  description in /openapi.json

To add a route, declare an `Operation` in a module `NAME_routes`, and add that module's `OPERATIONS` to the
table in `operations`. The handler takes a `Call` and returns a value that JSON can express; it only converts
parameters and calls a function of `iogate.operators`, which raises errors of `iogate.errors`:

    async def _list(call: Call) -> Any:
        return await schedules.listing(call.store, project=call.given.get("project"))

    LIST = Operation(
        name="schedules.list", method="GET", path="/v1/schedules", role=Role.READ, handler=_list,
        summary="List schedules", query={"project": Key(type=text(), required=False)},
    )

A change has an `action` and a `target`: the API then requires a `reason`, takes an `Idempotency-Key`, and
records the change before and after the handler (`iogate.operators.activity`). The handler passes `call.id` to
the store, so that a repeated request changes nothing twice, and sets `call.record.revision` or `.note`.
Routes, roles, checks and /openapi.json follow from the declaration; add the row to
docs/reference/operators.md. Pages of the console call `OperatorApi.perform` with the same declaration.
"""
