"""Moving bytes: accept, connect, join. The fast splicer and the portable one."""
