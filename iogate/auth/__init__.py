"""Authentication of callers and event senders as files declare it: model, reader, and stored form.

`forms` declares the forms, `reader` reads them, `stored` replaces literal secrets by hashes, `secret_reader`
reads the secrets on a machine, and `caller_names` names the callers. No module here checks a request: that is
`gateway.authentication`.
"""
