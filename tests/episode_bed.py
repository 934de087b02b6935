"""The configuration of the bed in which tests enter episodes."""

BED = """
[site]
site = "par"
bed = "bed12"
timezone = "Europe/Paris"
[journal]
directory = "journal"
[[device]]
id = "m"
driver = "hl7"
link = "tcp://127.0.0.1:1"
"""
