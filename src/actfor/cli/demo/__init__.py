"""`actfor demo`: the whole story in a minute, on real MCP servers, for a stranger to follow."""
