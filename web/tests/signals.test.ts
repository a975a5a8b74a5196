import { describe, expect, it } from 'vitest';
import { SOUND_OF, SOUNDS } from '../src/signals/sounds';
import { isQuiet, parseWishes, SILENT, tellsDesktop } from '../src/signals/wishes';
import { lane, type Task } from '../src/tasks/lanes';

describe('wishes', () => {
  it('are silent until asked for, and after anything odd', () => {
    expect(parseWishes(null)).toEqual(SILENT);
    expect(parseWishes('not json')).toEqual(SILENT);
    expect(parseWishes('{"sound":"yes","volume":9,"quiet":{"from":25,"to":3}}')).toEqual(SILENT);
    expect(parseWishes('{"sound":true,"quiet":{"from":22,"to":7}}')).toMatchObject({ sound: true, quiet: { from: 22, to: 7 } });
  });
  it('know quiet hours over midnight', () => {
    const at = (hour: number) => new Date(2026, 0, 1, hour, 30);
    expect([21, 22, 3, 6, 7].map((hour) => isQuiet({ from: 22, to: 7 }, at(hour)))).toEqual([false, true, true, true, false]);
    expect([8, 9, 16, 17].map((hour) => isQuiet({ from: 9, to: 17 }, at(hour)))).toEqual([false, true, true, false]);
    expect(isQuiet(null, at(3))).toBe(false);
  });
  it('tell the desktop of tier 1 always and of tier 2 only while hidden', () => {
    expect([1, 2, 3, 4].map((tier) => tellsDesktop(tier, false))).toEqual([true, false, false, false]);
    expect([1, 2, 3, 4].map((tier) => tellsDesktop(tier, true))).toEqual([true, true, false, false]);
  });
  it('have a sound for every event that names one', () => {
    for (const sound of Object.values(SOUND_OF)) expect(SOUNDS[sound].length).toBeGreaterThan(5);
  });
});

describe('lanes', () => {
  const task = (id: string, device: string) => ({ id, device }) as Task;
  const now = Date.parse('2026-01-02T00:00:00Z');
  const run = (id: string, started: string, ended: string | null, of = 'a') => ({ id, task: of, state: 'done', started_at: started, ended_at: ended });
  it('hold the runs of a device that touch the last day', () => {
    const runs = [
      run('old', '2025-12-31T10:00:00Z', '2025-12-31T11:00:00Z'), run('noon', '2026-01-01T12:00:00Z', '2026-01-01T18:00:00Z'),
      run('other', '2026-01-01T12:00:00Z', '2026-01-01T18:00:00Z', 'b'), run('runs', '2026-01-01T23:00:00Z', null),
    ];
    const spans = lane(runs, [task('a', 'gpu'), task('b', 'cpu')], 'gpu', now);
    expect(spans.map(({ run: { id } }) => id)).toEqual(['noon', 'runs']);
    expect(spans[0]).toMatchObject({ left: 0.5, width: 0.25 });
    expect((spans[1]?.left ?? 0) + (spans[1]?.width ?? 0)).toBeCloseTo(1);
  });
});
