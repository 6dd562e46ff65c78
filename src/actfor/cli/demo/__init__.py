"""`actfor demo`: the whole story in a minute, on real MCP servers, told so that a stranger follows it."""
