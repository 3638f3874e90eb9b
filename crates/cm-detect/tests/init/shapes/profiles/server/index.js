app.get('/api/health', (_, res) => res.json({ ok: true }));
