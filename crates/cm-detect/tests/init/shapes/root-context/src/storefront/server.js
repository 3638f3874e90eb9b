app.get("/healthz", (_, res) => res.send("ok"));
