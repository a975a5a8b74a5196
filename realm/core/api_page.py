"""The `/docs` page of every service: lists what `/openapi.json` says, without outside or inline scripts."""

from __future__ import annotations

DOCS_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs.css">
<script src="/docs.js" defer></script></head>
<body><main><h1 id="title">API</h1><p>Schema: <a href="/openapi.json">/openapi.json</a></p>
<table><thead><tr><th>Method</th><th>Path</th><th>Parameters</th><th>What it does</th></tr></thead>
<tbody id="rows"></tbody></table></main></body></html>
"""

DOCS_CSS = """
:root { color-scheme: dark light; font-family: system-ui, sans-serif; }
body { margin: 2rem; background: #14101c; color: #f1e8d5; }
a { color: #7ef0d2; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid #8271ad; vertical-align: top; }
td:first-child { color: #f0c36a; font-weight: 600; } td:nth-child(2) { font-family: monospace; }
"""

DOCS_JS = """
const cell = (row, text) => { const td = document.createElement('td'); td.textContent = text; row.append(td); };
fetch('/openapi.json').then((answer) => answer.json()).then((api) => {
  document.getElementById('title').textContent = api.info.title + ' ' + api.info.version;
  document.title = api.info.title;
  const rows = document.getElementById('rows');
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const row = document.createElement('tr');
      cell(row, method.toUpperCase());
      cell(row, path);
      cell(row, (route.parameters || []).map((p) => p.name + (p.required ? '' : '?')).join(', '));
      cell(row, route.description || route.summary || '');
      rows.append(row);
    }
  }
});
"""
