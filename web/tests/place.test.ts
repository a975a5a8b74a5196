import { describe, expect, it } from 'vitest';
import { freePlace, type Rect } from '../src/shell/place';

const window = { left: 0, top: 60, right: 1_000, bottom: 800 };
const size = { width: 300, height: 50 };
const box = (left: number, top: number, width: number, height: number): Rect => ({ left, top, right: left + width, bottom: top + height });
const covers = (at: { left: number; top: number }, taken: Rect[]) =>
  taken.some((one) => at.left < one.right && one.left < at.left + 300 && at.top < one.bottom && one.top < at.top + 50);

describe('a notice', () => {
  it('lies in the lower right corner where nothing is', () => expect(freePlace(size, window, [])).toEqual({ left: 688, top: 738, covers: 0 }));
  it('leaves a column of buttons alone', () => {
    const taken = Array.from({ length: 15 }, (_, row) => box(880, 60 + row * 50, 90, 32));
    const at = freePlace(size, window, taken);
    expect(at).toMatchObject({ left: 568, top: 738, covers: 0 });
    expect(covers(at, taken)).toBe(false);
  });
  it('goes up when a row of controls lies along the bottom', () => {
    const taken = [box(0, 700, 1_000, 90)];
    expect(covers(freePlace(size, window, taken), taken)).toBe(false);
  });
  it('covers as few as it can where nothing is free', () => {
    const taken = [box(0, 0, 1_000, 900), box(600, 700, 400, 100)];
    expect(freePlace(size, window, taken)).toMatchObject({ covers: 1 });
  });
  it('stays inside a window narrower than itself', () => expect(freePlace({ width: 358, height: 50 }, { left: 0, top: 0, right: 390, bottom: 844 }, []).left).toBe(20));
  it('rather lies beside a picture than on it, and on it rather than on a number', () => {
    const [chart, number] = [box(600, 500, 400, 300), box(0, 60, 590, 740)];
    const beside = freePlace(size, window, [], [chart]);
    expect(covers(beside, [chart])).toBe(false);
    const on = freePlace(size, window, [number, box(600, 60, 400, 430)], [chart]);
    expect([on.covers, covers(on, [chart])]).toEqual([0, true]);
  });
});
