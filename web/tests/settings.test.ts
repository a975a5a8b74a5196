import { beforeAll, describe, expect, it, vi } from 'vitest';
import { loaded } from '../src/i18n/loaded.svelte';
import { strings } from '../src/i18n/strings';
import { difference, entered, fits, planOf, tally, withPlan, withPreset, type Preset, type Table } from '../src/scheduler/schedule';
import { post, refusal } from '../src/settings/ask';
import { boundsOf, marked, originOf, readBack, written, type Kind, type Shape } from '../src/settings/fields';

const table: Table = {
  strategy: 'equal', board: { low: 1, min_rows: null },
  skills: { bin: { enabled: true, priority: 1, weight: 1 }, sy: { enabled: true, priority: 1, weight: 1 } },
};
const focus: Preset = {
  id: 'bin_focus', title: 'x', strategy: 'focus', reason: null,
  skills: { bin: { enabled: true, priority: 2, weight: 1 }, sy: { enabled: true, priority: 1, weight: 1 } },
};

describe('the edited schedule', () => {
  it('takes a preset over and is then that preset', () => {
    const chosen = withPreset(table, focus);
    expect([fits(table, focus), fits(chosen, focus)]).toEqual([false, true]);
    expect(chosen.board).toBe(table.board);
    expect(fits(withPlan(chosen, 'bin', { priority: 3 }), focus)).toBe(false);
  });
  it('is left alone by a preset that cannot be applied', () => expect(withPreset(table, { ...focus, skills: null })).toBe(table));
  it('never changes the table it came from', () => {
    const before = structuredClone(table);
    withPlan(withPreset(table, focus), 'bin', { weight: 9 });
    expect([table, focus.skills?.bin?.weight]).toEqual([before, 1]);
  });
  it('lets a skill it does not name take no part', () => {
    expect(planOf(table, 'chess').enabled).toBe(false);
    expect(difference(table, withPlan(table, 'chess', { enabled: true })).map((change) => change.name)).toEqual([
      'skills.chess.enabled', 'skills.chess.priority', 'skills.chess.weight',
    ]);
  });
  it('differs by leaves', () => {
    expect(difference(table, { ...table, strategy: 'focus' })).toEqual([{ name: 'strategy', before: 'equal', after: 'focus' }]);
    expect(difference(table, structuredClone(table))).toEqual([]);
    expect(difference({ board: { low: null } }, { board: {} })).toEqual([]);
  });
  it.each([['2', 2], [' 0.5 ', 0.5], ['', null], ['much', 'much'], ['1e999', '1e999']])('reads %j', (text, value) => expect(entered(text)).toBe(value));
  it('is summed up by skill', () => expect(tally([{ skill: 'sy' }, { skill: 'bin' }, { skill: 'bin' }])).toBe('2 BIN, 1 SY'));
});

describe('a setting in its field', () => {
  const shape = (kind: Kind, nullable = false) => ({ kind, nullable });
  it.each<[Kind, boolean, string, unknown]>([
    ['integer', false, '8', 8], ['integer', false, '8.5', 8.5], ['integer', true, ' ', null], ['integer', false, '', ''],
    ['number', false, '1e-4', 1e-4], ['number', false, '1e999', '1e999'], ['number', false, '0x', '0x'],
    ['numbers', false, '0.9, 0.98', [0.9, 0.98]], ['numbers', false, '0.9, x', [0.9, ' x']],
    ['boolean', false, 'true', true], ['boolean', false, 'maybe', 'maybe'], ['text', false, '8', '8'], ['choice', false, 'eval', 'eval'],
  ])('%s (%s) reads %j', (kind, nullable, text, value) => expect(readBack(shape(kind, nullable), text)).toEqual(value));
  it.each([[null], [8], [0.0008], [true], ['cuda'], [[0.9, 0.98]]])('%j is read as it was written', (value) => {
    const kind: Kind = value === null ? 'integer' : Array.isArray(value) ? 'numbers' : typeof value === 'boolean' ? 'boolean' : typeof value === 'number' ? 'number' : 'text';
    expect(readBack(shape(kind, true), written(value))).toEqual(value);
  });
  it('says its bounds', () => {
    const bounds: Shape = { kind: 'number', nullable: false, choices: [], minimum: null, maximum: 1, above: 0, below: null };
    expect(boundsOf(bounds)).toEqual([['config.above', 0], ['config.to', 1]]);
  });
  it('marks code words', () => {
    expect(marked('`a` or b')).toEqual([{ code: true, text: 'a' }, { code: false, text: ' or b' }]);
    expect(marked('<img src=x>')).toEqual([{ code: false, text: '<img src=x>' }]);
  });
});

describe('words of the server', () => {
  beforeAll(() => loaded.all());
  it.each(['default', 'preset tiny', 'config.json', 'environment'])('origin %j has a sentence', (origin) => expect(strings).toHaveProperty([originOf(origin)[0]]));
  it('name the fields of a refusal', () => {
    const body = { error: { message: 'no', hint: 'do', facts: { fields: { 'skills.bin.weight': 'too small' } } } };
    expect(refusal(400, body)).toEqual({ message: 'no. do', fields: { 'skills.bin.weight': 'too small' }, status: 400 });
    expect(refusal(502, null).message).toBe('HTTP 502');
  });
  it('come back from a post as value or refusal', async () => {
    const answers = [new Response('{"a": 1}'), new Response('<html>', { status: 500 })];
    vi.stubGlobal('fetch', () => Promise.resolve(answers.shift()));
    expect(await post('/x', {})).toEqual({ value: { a: 1 } });
    expect(await post('/x', {})).toMatchObject({ status: 500, fields: {} });
    vi.unstubAllGlobals();
  });
});
