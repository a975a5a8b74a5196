// After the build: writes build.json and refuses a bundle over its budget (bytes gzipped, as a browser loads "/").
import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { OUT, buildId } from './sources.mjs';

const LIMITS = { js: 80_000, css: 15_000, fonts: 70_000, sprite: 40_000, total: 300_000, folder: 1_500_000 };

const files = readdirSync(OUT, { recursive: true }).map(String).filter((name) => statSync(join(OUT, name)).isFile());
const read = (name) => readFileSync(join(OUT, name));
const gz = (name) => (/\.(woff2|png)$/.test(name) ? read(name).length : gzipSync(read(name)).length);
const sum = (names) => names.reduce((total, name) => total + gz(name), 0);

/** Parts of "/" that load only when somebody asks for them or leaves for another page; all others belong to the first visit. */
const ASKED_FOR = /^src\/(pages\/|quests\/AddQuest|tavern\/(LossTable|SkipDialog|WhyText)|shell\/NoticeList|signals\/|i18n\/en\.(pages|tavern))/;

/** All that a first visit of "/" can fetch: the entry with its imports, what it loads by itself (also on an event), the worker. */
function firstLoad() {
  const manifest = JSON.parse(read('.vite/manifest.json').toString());
  const seen = new Set();
  const out = new Set();
  const visit = (key) => {
    if (seen.has(key)) return;
    seen.add(key);
    const chunk = manifest[key];
    out.add(chunk.file);
    for (const css of chunk.css ?? []) out.add(css);
    for (const asset of chunk.assets ?? []) out.add(asset);
    for (const next of chunk.imports ?? []) visit(next);
    for (const next of chunk.dynamicImports ?? []) if (!ASKED_FOR.test(next)) visit(next);
  };
  visit('index.html');
  for (const worker of files.filter((name) => name.includes('feed.worker'))) out.add(worker);
  return [...out];
}

const loaded = firstLoad();
const fonts = files.filter((name) => name.endsWith('.woff2'));
const found = {
  js: sum(loaded.filter((name) => name.endsWith('.js'))),
  css: sum(loaded.filter((name) => name.endsWith('.css'))),
  fonts: sum(fonts),
  sprite: sum(files.filter((name) => /core-[^/]*\.svg$/.test(name))),
  total: 0,
  folder: files.reduce((total, name) => total + read(name).length, 0),
};
const creatures = sum(files.filter((name) => /creatures-[^/]*\.svg$/.test(name)));
found.total = found.js + found.css + found.fonts + found.sprite + creatures + gz('index.html');

rmSync(join(OUT, '.vite'), { recursive: true }); // Only this script needs the manifest.
writeFileSync(join(OUT, 'build.json'), `${JSON.stringify({ build: buildId() })}\n`);
const lines = Object.entries(found).map(([name, size]) => `${name} ${size} of ${LIMITS[name]}`);
console.log(`budgets (bytes): ${lines.join(', ')}`);
const over = Object.keys(found).filter((name) => found[name] > LIMITS[name]);
if (over.length > 0) throw new Error(`Over budget: ${over.join(', ')}.`);
