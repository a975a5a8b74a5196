import { describe, expect, it } from 'vitest';
import { fieldOf, nearest, scaleOf, shareOf, ticksOf, valueOf } from '../src/ui/plot';

describe('a scale', () => {
  it.each([false, true])('goes from values to places and back (log %s)', (log) => {
    const scale = scaleOf([[0.02, null, 3.5], [1.2]], log);
    expect(shareOf(scale, 0.02)).toBeGreaterThan(0);
    expect(shareOf(scale, 3.5)).toBeLessThan(1);
    for (const value of [0.02, 0.5, 3.5]) expect(valueOf(scale, shareOf(scale, value))).toBeCloseTo(value, 9);
  });
  it('keeps losses above zero and other values where they are', () => {
    expect(scaleOf([[0.001, 5]], false).low).toBe(0);
    expect(scaleOf([[-2, 5]], false).low).toBeLessThan(-2);
  });
  it('leaves out what a logarithm does not have', () => expect(scaleOf([[0, -1, 10, 100, Number.NaN]], true).low).toBeGreaterThan(5));
  it('has room for a single value and for none', () => {
    for (const log of [false, true]) {
      for (const values of [[7], [null], []]) {
        const { low, high } = scaleOf([values], log);
        expect(high).toBeGreaterThan(low);
        expect(Number.isFinite(low + high)).toBe(true);
      }
    }
  });
});

describe('the ticks', () => {
  it('are round, inside, and not too many', () => {
    expect(ticksOf({ low: 0, high: 1_000, log: false }, 5)).toEqual([0, 200, 400, 600, 800, 1_000]);
    expect(ticksOf({ low: 0.13, high: 0.52, log: false }, 5)).toEqual([0.2, 0.3, 0.4, 0.5]);
    for (const high of [1e-6, 0.003, 1, 47, 123_456_789]) {
      const found = ticksOf({ low: 0, high, log: false }, 6);
      expect(found.length).toBeGreaterThan(2);
      expect(found.length).toBeLessThanOrEqual(8);
      expect(Math.max(...found)).toBeLessThanOrEqual(high);
    }
  });
  it('of a logarithm are 1, 2, 5, or powers of ten where there are many', () => {
    expect(ticksOf({ low: 0.09, high: 2.5, log: true }, 6)).toEqual([0.1, 0.2, 0.5, 1, 2]);
    expect(ticksOf({ low: 0.0001, high: 100, log: true }, 6)).toEqual([0.0001, 0.001, 0.01, 0.1, 1, 10, 100]);
    expect(ticksOf({ low: 0.3, high: 0.5, log: true }, 4)).toEqual([0.3, 0.35, 0.4, 0.45, 0.5]);
  });
});

it('the nearest point is found by half-steps', () => {
  const rising = [10, 20, 40, 80];
  expect([-5, 12, 16, 29, 31, 60, 61, 900].map((value) => rising[nearest(rising, value)])).toEqual([10, 10, 20, 20, 40, 40, 80, 80]);
  expect([nearest([5], 7), nearest([], 7)]).toEqual([0, 0]);
});

it('the field never vanishes, however narrow the window', () => expect(fieldOf(20, 10)).toMatchObject({ width: 1, height: 1 }));
