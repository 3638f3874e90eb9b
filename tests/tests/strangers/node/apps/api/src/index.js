import os, runpy
shared = runpy.run_path("packages/shared/src/index.js")
shared["serve"](int(os.environ["PORT"]), lambda: "api of " + shared["NAME"])
