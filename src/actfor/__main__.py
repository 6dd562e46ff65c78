"""`python -m actfor` is `actfor`."""

from actfor.cli import main

main()
