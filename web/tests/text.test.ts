import { beforeAll, describe, expect, it } from 'vitest';
import { fill } from '../src/i18n/fill';
import { loaded } from '../src/i18n/loaded.svelte';
import { strings } from '../src/i18n/strings';
import { pieces } from '../src/lib/pieces';
import { FORMATS } from '../src/lib/format';
import { awayFacts, awaySentence, awayTold } from '../src/text/away';
import { fieldText, sentence, styleOf } from '../src/text/events';
import { foeOf } from '../src/text/foe';
import { orderOf } from '../src/text/nextMove';
import { nextRank, rankOf } from '../src/text/rank';
import { pageTitle, runState, spoken } from '../src/text/state';
import { event, snapshot } from './facts';

beforeAll(() => loaded.all());

describe('templates', () => {
  it('put values in and leave optional parts out', () => {
    expect(fill('{name} done[, {rows} rows]', { name: 'a', rows: 3 })).toBe('a done, 3 rows');
    expect(fill('{name} done[, {rows} rows]', { name: 'a', rows: null })).toBe('a done');
    expect(fill('[{a} ]b', { a: 0 })).toBe('0 b');
  });
  it('never put a value into another value\'s place', () => expect(fill('{a} {b}', { a: '{b}', b: 'x' })).toBe('{b} x'));
  it('have values of known formats only', () => {
    for (const [key, text] of Object.entries(strings)) {
      for (const piece of pieces(text)) if (typeof piece !== 'string') expect(FORMATS, key).toHaveProperty(piece.format);
    }
  });
});

describe('pieces', () => {
  it('split text and values', () =>
    expect(pieces('step <hero.step:int> of all')).toEqual(['step ', { path: 'hero.step', format: 'int' }, ' of all']));
  it('leave other angle brackets alone', () => expect(pieces('a < b > c')).toEqual(['a < b > c']));
});

describe('sentences about events', () => {
  it.each([
    ['hero.level_up', { step: 12_000, data: { level: 12 } }, 'Level 12 reached'],
    ['checkpoint.evaluated', { data: { skill: 'sy', level: 4, n: 25, correct: 21 } }, 'SY L4 eval: 21 of 25 right (84 %)'],
    ['battle.best_loss', { data: { name: 'a', loss: 0.6171 } }, 'Critical: 0.617, the best smoothed loss of this quest'],
    ['queue.rejected', { data: { name: 'x.jsonl', reason: 'row 17: no assistant message' } }, 'x.jsonl was refused: row 17: no assistant message'],
    ['queue.added', { subject: 'q1', data: { name: 'x.jsonl', rows: 1_340, skill: null, level: null } }, 'Quest x.jsonl joined the board, 1,340 rows'],
    ['checkpoint.saved', { step: 12_000, data: { val_loss: 0.787 } }, 'Checkpoint 12,000 saved, val loss 0.787'],
    ['service.fallen', { subject: 'oracle', data: {} }, 'oracle keeps falling and is no longer restarted'],
    ['some.thing', { subject: 'x' }, 'some.thing: x'],
  ])('%s', (kind, more, text) => expect(sentence(event(1, kind, more))).toBe(text));
  it('do not break on missing data', () =>
    expect(sentence({ ...event(1, 'battle.failed'), data: null as unknown as Record<string, unknown> })).toBe('Battle failed'));
  it('show text as text', () =>
    expect(sentence(event(1, 'queue.rejected', { data: { name: '<img src=x>', reason: '{step}' } }))).toBe('<img src=x> was refused: {step}'));
  it('know the unit from the field', () => {
    expect(fieldText('seconds', 90)).toBe('1 min 30 s');
    expect(fieldText('size_bytes', 2_000)).toBe('2.0 kB');
    expect(fieldText('rows', Number.NaN)).toBeNull();
    expect(fieldText('x', { a: 1 })).toBeNull();
  });
  it('have a style for every kind that has a sentence', () => {
    const kinds = Object.keys(strings).filter((key) => key.startsWith('event.') && !key.endsWith('.real')).map((key) => key.slice(6));
    expect(kinds.length).toBeGreaterThan(35);
    for (const kind of kinds) expect(styleOf(kind), kind).not.toBe(styleOf('no.such'));
  });
});

describe('state words', () => {
  it('say why the hero idles', () => {
    const idle = snapshot({ queue: { high: 0, normal: 0, low: 0, processing: 0, completed: 0, failed: 0 } });
    idle.battle = { ...idle.battle, state: 'idle' };
    expect(runState(idle)).toBe('Idle: quest board empty');
    expect(runState(null)).toBe('Unknown');
  });
  it('make the title', () => {
    expect(pageTitle(snapshot(), 'Tavern')).toBe('50 % SY L4 - Tavern');
    expect(pageTitle(null, 'Tavern')).toBe('Tavern - Realm of Training');
  });
  it('speak only what is known', () => {
    expect(spoken(snapshot())).toBe('Training. DIO, level 12, step 12,482. Train loss 0.621. Accuracy 84 %. Quest 50 % done, 8 min 57 s left.');
    expect(spoken(null)).toBe('Nothing is known yet.');
  });
});

describe('foes', () => {
  it('are the same for the same quest', () => {
    expect(foeOf('sy', 1, 50, 'generated')).toEqual(foeOf('sy', 1, 50, 'generated'));
    expect(foeOf('chess', 3, 20, null)).toEqual(foeOf('chess', 3, 20, null));
  });
  it('grow with the level', () => expect(foeOf('sy', 50, 50, null).glyph).not.toBe(foeOf('sy', 1, 50, null).glyph));
  it('are a mirror in sparring', () => expect(foeOf('bin', 2, 30, 'sparring').glyph).toBe('robot-golem'));
});

describe('ranks', () => {
  it.each([[null, 'hood'], [0, 'hood'], [1, 'bronze'], [10, 'silver'], [24, 'silver'], [25, 'gold'], [50, 'horned'], [100, 'crowned'], [5_000, 'crowned']])(
    'level %s is %s', (level, rank) => expect(rankOf(level)).toBe(rank));
  it('end at the crown', () => {
    expect(nextRank(12)).toEqual({ rank: 'gold', level: 25 });
    expect(nextRank(100)).toBeNull();
  });
});

describe('the next move', () => {
  it('knows its table and our own pages', () => {
    expect(orderOf('resume')).toMatchObject({ kind: 'post', body: { action: 'resume' } });
    expect(orderOf('failed')).toMatchObject({ kind: 'open', address: '/quests?tab=failed' });
    expect(orderOf('/vault')).toMatchObject({ kind: 'open' });
  });
  it.each([[null], ['//evil.example'], ['/api/training/control'], ['javascript:1'], ['toString']])('has no button for %s', (action) =>
    expect(orderOf(action)).toBeNull());
});

describe('the away summary', () => {
  const away = { from: 1, to: 9, seconds: 22_320, idle_s: 20_100, steps: 5_140, levels: 5, champions: 1, errors: 0, told: { champions: [{ seq: 4, at: '', text: 'b' }], errors: [{ seq: 8, at: '', text: 'a' }] } };
  it('counts what is there', () =>
    expect(awaySentence(away)).toBe('+5,140 XP in 37 min of training, 5 levels, 1 new champion, idle 5 h 35 min.'));
  it('is honest about nothing', () => expect(awayFacts({ from: 1, to: 1, seconds: 9, idle_s: 9, steps: null })).toEqual([]));
  it('tells the newest first', () => expect(awayTold(away).map((line) => line.text)).toEqual(['a', 'b']));
});
