import os, runpy, urllib.request
shared = runpy.run_path("packages/shared/src/index.js")
shared["serve"](3000, lambda: "web of " + shared["NAME"] + ", " + urllib.request.urlopen(os.environ["API_URL"]).read().decode())
