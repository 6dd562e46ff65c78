"""The standards as pure code: parse, build, verify. One module per specification."""
