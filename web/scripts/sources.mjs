// The build id: a hash over everything the bundle is made of, so that equal sources give equal ids.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const WEB = fileURLToPath(new URL('..', import.meta.url));
export const OUT = join(WEB, '..', 'realm', 'tavern', 'static');
const ROOTS = ['src', 'public', 'scripts'];
const FILES = ['index.html', 'package-lock.json', 'svelte.config.js', 'vite.config.ts', 'tsconfig.json'];
const GENERATED = join('src', 'generated');

function filesUnder(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(WEB, join(entry.parentPath ?? entry.path, entry.name)));
}

/** Paths of all sources, relative to web/, sorted, with "/" as separator. */
export function sourceFiles() {
  const found = ROOTS.flatMap((root) => filesUnder(join(WEB, root))).concat(FILES);
  return found
    .filter((path) => !path.startsWith(GENERATED))
    .map((path) => path.split(sep).join('/'))
    .sort();
}

/** First 16 hex digits of SHA-256 over "path NUL content NUL" of every source. */
export function buildId() {
  const hash = createHash('sha256');
  for (const path of sourceFiles()) {
    hash.update(path).update('\0').update(readFileSync(join(WEB, path))).update('\0');
  }
  return hash.digest('hex').slice(0, 16);
}
