"""Answers data: pygeoapi plugins that read an edition through a grant. They never see a request."""
