"""HTTP of the gateway: requests, bodies, JSON and forms, hosts and origins, responses."""
