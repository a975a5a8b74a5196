// Every kind of event that the realm can log has words and a look of its own, under every label switch.
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import source from '../../realm/core/events.py?raw';
import { loaded } from '../src/i18n/loaded.svelte';
import { prefs, type Labels } from '../src/lib/prefs.svelte';
import { sentence, styleOf } from '../src/text/events';
import { event } from './facts';

const table = source.slice(source.indexOf('EVENT_KINDS: dict'), source.indexOf('\n}\n', source.indexOf('EVENT_KINDS: dict')));
const KINDS = [...table.matchAll(/^ {4}"([a-z_]+\.[a-z_]+)":/gm)].map((found) => found[1] ?? '');
const GAME_WORDS = /\b(quests?|battle|hero|critical|blocked|gold)\b/i;

beforeAll(() => loaded.all());
afterEach(() => { prefs.labels = 'both'; });

describe('every kind of event', () => {
  it('is found in the log\'s own table', () => {
    expect(KINDS.length).toBeGreaterThan(45);
    expect(KINDS).toContain('asset.healed');
  });
  it.each(['game', 'both', 'real'] as Labels[])('has words under %s labels', (labels) => {
    prefs.labels = labels;
    for (const kind of KINDS) {
      const text = sentence(event(1, kind, { subject: 'it', step: 7, data: { name: 'it', reason: 'why', level: 2, skill: 'bin' } }));
      expect(text, kind).not.toContain(kind);
      expect(text.length, kind).toBeGreaterThan(4);
    }
  });
  it('speaks field terms under real labels', () => {
    prefs.labels = 'real';
    for (const kind of KINDS) expect(sentence(event(1, kind, { subject: 'it', step: 7, data: { name: 'it' } })), kind).not.toMatch(GAME_WORDS);
  });
  it('has a look of its own', () => {
    for (const kind of KINDS) expect(styleOf(kind), kind).not.toBe(styleOf('no.such'));
  });
});

describe('a quest of the curriculum', () => {
  const done = event(1, 'queue.completed', { data: { name: 'train_bin_level2_1498_20261122_153112.jsonl', rows: 1_498 } });
  it('is named by skill and level in the game, by its file under real labels', () => {
    expect(sentence(done)).toBe('Quest BIN L2 is done, 1,498 rows: +100 gold');
    prefs.labels = 'real';
    expect(sentence(done)).toBe('File train_bin_level2_1498_20261122_153112.jsonl is done, 1,498 rows');
  });
});
