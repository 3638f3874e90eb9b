"""A registry with the images of a `docker save`, which gives the last layer of each slowly and has nothing for anybody in /denied.

registry.py DIRECTORY BYTES_A_SECOND, where the archive was unpacked
"""

import hashlib
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMAGES, RATE = sys.argv[1], int(sys.argv[2])
PIECE = 1 << 16
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def read(name):
    with open(f"{IMAGES}/{name}", "rb") as file:
        return file.read()


def blob(name, kind):
    data = read(name)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    PLACES[digest] = name
    return {"mediaType": kind, "digest": digest, "size": len(data)}


PLACES, MANIFESTS, SLOW = {}, {}, set()
for image in json.loads(read("manifest.json")):
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(image["Config"], "application/vnd.docker.container.image.v1+json"),
        "layers": [blob(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip") for layer in image["Layers"]],
    }
    SLOW.add(manifest["layers"][-1]["digest"])
    text = json.dumps(manifest).encode()
    for tag in image["RepoTags"]:
        MANIFESTS[tag.rsplit(":", 1)[1]] = text
    MANIFESTS["sha256:" + hashlib.sha256(text).hexdigest()] = text


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, kind, data, rate=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(data).hexdigest())
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(data), PIECE):
            self.wfile.write(data[start : start + PIECE])
            time.sleep(PIECE / rate if rate else 0)

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            self.answer(200, "application/json", b"{}")
        elif parts[1] == "denied":
            error = {"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}
            self.answer(403, "application/json", json.dumps(error).encode())
        elif parts[2] == "manifests" and parts[3] in MANIFESTS:
            self.answer(200, MANIFEST, MANIFESTS[parts[3]])
        elif parts[2] == "blobs" and parts[3] in PLACES:
            self.answer(200, "application/octet-stream", read(PLACES[parts[3]]), RATE if parts[3] in SLOW else None)
        else:
            self.answer(404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 5000), Registry).serve_forever()
