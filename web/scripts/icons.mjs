// Writes the two sprites and the list of their names from @iconify-json/game-icons (CC BY 3.0).
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CORE, CREATURES } from './icon-list.mjs';
import { roundPath } from './path-rounding.mjs';
import { WEB } from './sources.mjs';

const OUT = join(WEB, 'src', 'generated');
const CORE_LIMIT = 40_000;
const set = JSON.parse(readFileSync(createRequire(import.meta.url).resolve('@iconify-json/game-icons/icons.json'), 'utf8'));

function symbol(name) {
  const icon = set.icons[name];
  if (!icon) throw new Error(`game-icons has no glyph "${name}"; see scripts/icon-list.mjs`);
  const body = icon.body.replace(/ d="([^"]+)"/g, (_, d) => ` d="${roundPath(d)}"`);
  return `<symbol id="${name}" viewBox="0 0 ${icon.width ?? set.width ?? 512} ${icon.height ?? set.height ?? 512}">${body}</symbol>`;
}

function sprite(names) {
  const unique = [...new Set(names)];
  return `<svg xmlns="http://www.w3.org/2000/svg">${unique.map(symbol).join('')}</svg>\n`;
}

/** Glyphs that the shipped skill files name as "game-icons:<glyph>". */
function skillGlyphs() {
  const folder = join(WEB, '..', 'configs', 'skills');
  if (!existsSync(folder)) return [];
  const texts = readdirSync(folder).filter((name) => name.endsWith('.yaml')).map((name) => readFileSync(join(folder, name), 'utf8'));
  const named = texts.flatMap((text) => [...text.matchAll(/^[^#\n]*\bgame-icons:([a-z0-9-]+)/gm)].map((match) => match[1]));
  return named.filter((name) => set.icons[name]);
}

const union = (names) => [...new Set(names)].sort().map((name) => `'${name}'`).join(' | ');

mkdirSync(OUT, { recursive: true });
const coreNames = [...new Set([...CORE, ...skillGlyphs()])].sort();
const core = sprite(coreNames);
const creatures = sprite(CREATURES);
writeFileSync(join(OUT, 'core.svg'), core);
writeFileSync(join(OUT, 'creatures.svg'), creatures);
writeFileSync(
  join(OUT, 'icons.ts'),
  `// Written by scripts/icons.mjs.\nexport type CoreIcon = ${union(coreNames)};\nexport type Creature = ${union(CREATURES)};\n` +
    `export const CORE_ICONS: ReadonlySet<string> = new Set(${JSON.stringify(coreNames.join(' '))}.split(' '));\n`,
);
const size = gzipSync(core).length;
console.log(`sprites: core ${size} B gz (limit ${CORE_LIMIT}), creatures ${gzipSync(creatures).length} B gz`);
if (size > CORE_LIMIT) throw new Error('The core sprite is over its budget; shorten CORE in scripts/icon-list.mjs.');
