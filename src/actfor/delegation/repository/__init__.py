"""Tables and SQL of mandates, grants, spent proofs and device logins."""
