"""Measures gdl and its peers: whole commands, side by side, against a real server on loopback.

``python -m benchmarks --help`` lists the cases; README.md says what they mean and how to read them.
"""
