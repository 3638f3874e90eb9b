"""One container of the ward: what its words say, it does.

after=S    opens its port S seconds after its start (default 0; never: -)
ends=S:N   ends S seconds after its start with exit status N
greedy=S   wants more memory than it may have, S seconds after its start
alone      ends at once with 3 unless it is the first of its replicas
says=TEXT  says TEXT at its start
"""
import fcntl, http.server, os, sys, threading, time

words = dict(word.partition("=")[::2] for word in sys.argv[1:])
if "says" in words:
    print(words["says"], file=sys.stderr, flush=True)
if "alone" in words:
    place = open("/ward/place", "w")
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("no place left", file=sys.stderr, flush=True)
        os._exit(3)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def serve():
    http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Page).serve_forever()


def later(seconds, what):
    timer = threading.Timer(float(seconds), what)
    timer.daemon = True
    timer.start()


def eat():
    food = []
    while True:
        food.append(bytearray(os.urandom(1 << 20)))


if "ends" in words:
    seconds, status = words["ends"].split(":")
    if float(seconds) == 0:
        os._exit(int(status))
    later(seconds, lambda: os._exit(int(status)))
if "greedy" in words:
    later(words["greedy"], eat)
if words.get("after", "0") != "-":
    later(words.get("after", "0"), serve)
while True:
    time.sleep(60)
