"""HTML pages of the gateway: escaping of their content, and their frame with its security headers."""
