"""What every Python service of the platform shares: settings from the environment, a small HTTP server.

Standard library only, so that the runner agent needs nothing but Python.
"""
