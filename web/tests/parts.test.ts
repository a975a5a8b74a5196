import { describe, expect, it } from 'vitest';
import { levelState } from '../src/guild/levels';
import { looksOf, tierOf } from '../src/hero/portrait';
import { hostsOf, sealed } from '../src/oracle/pool';
import { messagesOf } from '../src/quests/rows';
import { align, appended, smooth, trendOf } from '../src/tavern/series';
import { contrast, parseHex, readable } from '../src/text/color';
import { serviceLook } from '../src/text/services';
// @ts-expect-error -- a build script without types
import { roundPath } from '../scripts/path-rounding.mjs';

describe('the loss line', () => {
  it('is smoothed without a bias at its start', () => {
    expect(smooth([2, 2, 2], 0.9)).toEqual([2, 2, 2].map((value) => expect.closeTo(value, 12)));
    expect(smooth([1, null, 3], 0)).toEqual([1, null, 3]);
  });
  it('joins both kinds of points over one axis', () =>
    expect(align([{ x: 1, last: 5 }, { x: 3, last: 4 }], [{ x: 2, y: 9 }])).toEqual({ x: [1, 2, 3], train: [5, null, 4], val: [null, 9, null] }));
  it('grows by confirmed later steps only', () => {
    const points = [{ x: 1, last: 5 }];
    expect(appended(points, 2, 4)).toHaveLength(2);
    expect(appended(points, 1, 4)).toBe(points);
    expect(appended(points, 2, Number.NaN)).toBe(points);
  });
  it('has a trend from two points on', () => {
    expect(trendOf([{ x: 1, last: 5 }])).toBeNull();
    expect(trendOf([{ x: 1, last: 5 }, { x: 4, last: 2 }, { x: 9, last: 3 }])).toEqual({ first: 5, last: 3, steps: 8, best: 2, bestAt: 4 });
  });
});

describe('colours from data', () => {
  it.each(['#1d1728', '#ece0c4', '#000000'])('are readable on %s', (ground) => {
    for (const color of ['#F59E0B', '#8B5CF6', '#000000', '#ffffff', '#123456', 'nonsense', null]) {
      const found = readable(color, ground).match(/\d+/g)?.map(Number) as [number, number, number];
      expect(contrast(found, parseHex(ground) ?? [0, 0, 0])).toBeGreaterThanOrEqual(4.5);
    }
  });
  it('stay as they are when they can', () => expect(readable('#F59E0B', '#1d1728')).toBe('rgb(245 158 11)'));
});

describe('the oracle', () => {
  const asked = { step: 12_000, host: 'local' };
  const good = { response: 'x', model: 'm', step: 12_000, weights_sha256: 'ab' };
  it('seals an answer with what the server said', () => expect(sealed(good, asked)).toMatchObject({ step: 12_000, digest: 'ab', host: 'local' }));
  it.each([[{ ...good, step: 11_000 }], [{ ...good, step: null }], [{ ...good, weights_sha256: '' }], [null]])('refuses %j', (reply) =>
    expect(() => sealed(reply, asked)).toThrow());
  it('lists what is loaded, newest first', () => {
    const hosts = hostsOf({ hosts: { a: { loaded_models: [{ step: 0, model: 'base' }, { step: 500, model: 'checkpoint-500' }] }, b: { reason: 'down', loaded_models: [] } } });
    expect(hosts[0]?.models.map((model) => model.step)).toEqual([500, 0]);
    expect(hosts[1]).toEqual({ id: 'b', reason: 'down', models: [] });
    expect(hostsOf(null)).toEqual([]);
  });
});

describe('small tables', () => {
  it('levels of a ladder', () => {
    const skill = { mastered: 3, training: 4, rusty: [2] };
    expect([1, 2, 3, 4, 5].map((level) => levelState(level, skill))).toEqual(['mastered', 'rusty', 'mastered', 'training', 'locked']);
  });
  it('tiers of a gem', () => expect([0, 1, 10, 20, 30].map((n) => tierOf(n, 30))).toEqual([0, 1, 2, 3, 3]));
  it('services nobody knows are not good', () => {
    expect(serviceLook('running').bad).toBe(false);
    expect(serviceLook('fallen').bad).toBe(true);
    expect(serviceLook('???').bad).toBe(true);
  });
  it('looks follow the seed', () => {
    expect(looksOf('EVE')).toEqual(looksOf('EVE'));
    expect(new Set(['A', 'B', 'C', 'D', 'E', 'F', 'G'].map((seed) => looksOf(seed).cloak.mid)).size).toBeGreaterThan(2);
  });
  it('rows of any shape are text', () => {
    expect(messagesOf({ messages: [{ role: 'user', content: 'a' }] })).toEqual([{ role: 'user', content: 'a' }]);
    expect(messagesOf({ messages: [null] })).toEqual([{ role: '?', content: undefined }]);
    expect(messagesOf('x')[0]?.content).toBe('"x"');
  });
});

describe('rounded paths', () => {
  it('end where they ended', () => {
    const steps = Array.from({ length: 300 }, () => 'l.4.3').join('');
    const found = [...roundPath(`M0 0${steps}`).matchAll(/-?\d+/g)].map(Number);
    expect(found.filter((_, i) => i % 2 === 0).reduce((a, b) => a + b)).toBe(120);
    expect(found.filter((_, i) => i % 2 === 1).reduce((a, b) => a + b)).toBe(90);
  });
  it('understand packed arc flags', () => expect(roundPath('M10 10a5 5 0 0110 0z')).toBe('m10 10a5 5 0 0 1 10 0z'));
});
