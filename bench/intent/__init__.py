"""What stops a hijacked agent, and what it costs an honest one; see README.md beside this file."""
