"""How fast the server is and what it needs, beside other servers on the same data and the same machine."""
