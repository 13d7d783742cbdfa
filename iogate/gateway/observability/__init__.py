"""Health, metrics and the OpenAPI document of a gateway."""
