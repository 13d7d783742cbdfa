"""The HTTP gateway.

It authenticates and validates a call, and stores it durably before it responds.

    __main__ http_server  one gateway process: settings, sockets, signals, exit
    certificates      the certificate of the gateway's own TLS, and its replacement
    audience          who a port serves: callers, operators, or both
    client_connections  the connections to clients, and their closing
    idle_connections  closing of idle connections while HTTP/2 is served
    sockets           the listening socket that gateways share
    child_process     start of a process of the gateway, and messages to and from it
    app               the Litestar application
    state revision_refresher  state of the process; the live revisions, and how new ones are taken
    table_loader      routing table from the live revisions of all projects
    refresh_log       log records of the refresh: outages of the store, refused revisions, defects
    calls             the accept path: routing table and the handler of `/async` and `/sync`
    runs              show, wait, follow and cancel runs
    events            intake of CloudEvents
    operators         HTTP API of operators
    console           pages of operators, with sessions
    links             pages and use of one-time links
    authentication    credentials, and signed links
    validation        inputs against JSON Schemas, on the loop or beside it
    http              requests, bodies, JSON, hosts, origins, responses, access log
    pages             HTML pages: escaping, frame and security headers
    observability     health, metrics, OpenAPI
"""
