"""HTTP of the gateway: bodies, JSON and forms, hosts and origins, responses."""
