"""Hooks: programs and addresses of the operator, told of a migration, or asked before its cutover."""
