"""Published policy sets, proposals and shadows: the tables, and the SQL that touches them."""
