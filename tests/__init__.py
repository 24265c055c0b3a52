"""What is promised: unit, api, security, clients, conformance, reference."""
