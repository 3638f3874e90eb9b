# Stands for JavaScript: `node` is Python here.
import signal, sys
from http.server import ThreadingHTTPServer, BaseHTTPRequestHandler
NAME = "store one"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

def serve(port, text):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text().encode())
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
