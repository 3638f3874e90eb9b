#!/usr/bin/env python3
"""Stands for Django's: every migration must be read, and the database must answer."""
import glob, os, runpy, socket, struct, sys, urllib.parse

assert sys.argv[1] == "migrate", sys.argv
where = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
with socket.create_connection((where.hostname, where.port), 5) as database:
    database.sendall(struct.pack("!ii", 8, 80877103))
    assert database.recv(1) in b"SN"
for path in sorted(glob.glob("blog/migrations/0*.py")):
    for operation in runpy.run_path(path)["operations"]:
        print("Applying", os.path.basename(path), operation)
