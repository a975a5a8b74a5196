import { describe, expect, it } from 'vitest';
import { changesState, LOG_LENGTH, stepsBetween, valueAt, withEvent, withTick } from '../src/data/reduce';
import type { Tick } from '../src/data/types';
import { event, snapshot } from './facts';

const tick = (at: string, step: number): Tick => {
  const base = snapshot();
  return { at, hero: { ...base.hero, step }, battle: { ...base.battle, step }, forge: base.forge };
};

describe('ticks', () => {
  it('replace hero, battle and forge and nothing else', () => {
    const before = snapshot();
    const after = withTick(before, tick('2026-11-22T12:00:01.000Z', 12_484));
    expect(after.hero.step).toBe(12_484);
    expect(after.battle.step).toBe(12_484);
    expect(after.queue).toBe(before.queue);
    expect(after.log).toBe(before.log);
    expect(before.hero.step).toBe(12_482);
  });
  it('never go back in time', () => {
    const before = snapshot();
    expect(withTick(before, tick('2026-11-22T11:59:59.000Z', 1))).toBe(before);
  });
});

describe('events', () => {
  it('come to the top of the log once', () => {
    const once = withEvent(snapshot(), event(11));
    expect(once.log.map((entry) => entry.seq)).toEqual([11, 10]);
    expect(once.cursor).toBe(11);
    expect(withEvent(once, event(11))).toBe(once);
    expect(withEvent(once, event(3))).toBe(once);
  });
  it('leave out what the catalogue repeats of a checkpoint, not the place in the log', () => {
    const told = withEvent(snapshot(), { ...event(11), kind: 'asset.registered', subject: 'checkpoint_75' });
    expect(told.log.map((entry) => entry.seq)).toEqual([10]);
    expect(told.cursor).toBe(11);
    expect(withEvent(told, { ...event(12), kind: 'asset.registered', subject: 'model_dio' }).log).toHaveLength(2);
  });
  it('keep the log at its length', () => {
    let state = snapshot();
    for (let seq = 11; seq < 200; seq++) state = withEvent(state, event(seq));
    expect(state.log).toHaveLength(LOG_LENGTH);
    expect(state.log[0]?.seq).toBe(199);
  });
  it.each([['queue.added', true], ['hero.champion', true], ['service.down', true], ['battle.paused', true], ['battle.best_loss', false], ['task.finished', false]])(
    '%s asks for a new snapshot: %s', (kind, expected) => expect(changesState(kind)).toBe(expected));
});

describe('steps between two states', () => {
  it('are the gain of the same hero', () => {
    const [before, after] = [snapshot(), withTick(snapshot(), tick('2026-11-22T12:00:01.000Z', 12_492))];
    expect(stepsBetween(before, after)).toBe(10);
    expect(stepsBetween(after, before)).toBe(0);
    expect(stepsBetween(null, after)).toBe(0);
  });
  it('are none when the hero is another one', () => {
    const other = snapshot();
    other.hero = { ...other.hero, name: 'EVE', step: 99_999 };
    expect(stepsBetween(snapshot(), other)).toBe(0);
  });
});

describe('value at a path', () => {
  it('finds the value', () => expect(valueAt(snapshot(), 'hero.atk')).toEqual({ value: 1.61, reason: null }));
  it('finds the reason of a missing one', () =>
    expect(valueAt(snapshot(), 'hero.def')).toEqual({ value: null, reason: 'no validation loss has been measured yet' }));
  it('is null below something missing', () => {
    expect(valueAt(null, 'hero.atk').value).toBeNull();
    expect(valueAt(snapshot(), 'skills.none.acc').value).toBeNull();
  });
});
