import { describe, expect, it } from 'vitest';
import { plain } from '../src/guild/plain';
import { differences, diskParts } from '../src/vault/compare';
import { orderOf, type Details } from '../src/vault/types';

const one = (step: number, more: Partial<Details> = {}, record: Record<string, unknown> = {}): Details => ({
  name: `checkpoint-${step}-20260101-0000`, step, state: 'present', at: '', size: 1000, pinned: false, champion: false,
  train_loss: null, val_loss: null, eval: null, evals: [], verdict: { kept: true, protected: false, text: '' },
  manifest: null, record: { quests: [], step, hero: 'DIO', ...record }, parents: { count: step, whole: true, lost: null }, verified: null, ...more,
});
const of = (key: string, a: Details, b: Details) => differences(a, b).find((row) => row.key === key);

describe('differences', () => {
  it('subtracts numbers and says what is the same', () => {
    const [a, b] = [one(100, {}, { train_loss: 0.9 }), one(250, { size: 3000 }, { train_loss: 0.5 })];
    expect(of('step', a, b)).toEqual({ key: 'step', a: '100', b: '250', change: '+150', same: false });
    expect(of('train_loss', a, b)?.change).toBe('-0.400');
    expect(of('size', a, b)?.change).toBe('+2.0 kB');
    expect(of('hero', a, b)?.same).toBe(true);
    expect(of('val_loss', a, b)).toEqual({ key: 'val_loss', a: '-', b: '-', change: null, same: true });
  });

  it('compares evals that either has', () => {
    const found = { skill: 'bin', level: 2, kind: 'gate', n: 20, correct: 10 };
    const [a, b] = [one(1, { evals: [found] }), one(2, { evals: [{ ...found, correct: 15 }, { ...found, level: 3, kind: 'probe' }] })];
    expect(of('BIN L2', a, b)).toEqual({ key: 'BIN L2', a: '10 / 20', b: '15 / 20', change: '+25 %', same: false });
    expect(of('BIN L3 (probe)', a, b)).toMatchObject({ a: '-', b: '10 / 20', change: null, same: false });
  });

  it('finds nothing between one and itself', () => {
    const a = one(5, { evals: [{ skill: 'sy', level: 1, kind: 'gate', n: 3, correct: 1 }] });
    expect(differences(a, a).every((row) => row.same)).toBe(true);
  });
});

describe('diskParts', () => {
  it('adds up to the whole disk', () => {
    const parts = diskParts({ checkpoints: 10, quests: 5, evals: 1, trash: 4, free: 60, total: 100 });
    expect(parts.find(({ part }) => part === 'other')?.bytes).toBe(20);
    expect(parts.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
  });
  it('never shows a negative rest', () => {
    expect(diskParts({ checkpoints: 90, quests: 0, evals: 0, trash: 0, free: 60, total: 100 }).every(({ bytes, share }) => bytes >= 0 && share <= 1)).toBe(true);
  });
});

describe('text of models', () => {
  it('shows what hides or reorders, and leaves the rest', () => {
    expect(plain('a\u202eb\u001b[31m\u200b')).toBe('a⟨U+202E⟩b⟨U+001B⟩[31m⟨U+200B⟩');
    expect(plain('<b>①⓪\n\tä</b>')).toBe('<b>①⓪\n\tä</b>');
  });
});

it('addresses are escaped', () => expect(orderOf('../x', 'pin')).toBe('/api/vault/checkpoints/..%2Fx/pin'));
