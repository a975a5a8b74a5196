// What differs between two checkpoints, and the parts of the disk: pure, so that it can be tested.
import * as format from '../lib/format';
import type { Details, Plan } from './types';

export interface Difference {
  key: string;
  a: string;
  b: string;
  /** b - a with its sign, for numbers that can be subtracted. */
  change: string | null;
  same: boolean;
}

type Show = (value: number) => string;
const signed = (show: Show): Show => (value) => (value > 0 ? `+${show(value)}` : value < 0 ? `-${show(-value)}` : show(0));

/** Field -> how its number reads; others are text. */
const NUMBERS: Record<string, Show> = {
  step: format.int, train_loss: format.loss, val_loss: format.loss, eval: format.loss, learning_rate: format.rate, epoch: String,
  tokens: format.int, trained_tokens: format.int, seconds: format.duration, size: format.bytes, parents: format.int,
};
const TEXTS = ['timestamp', 'hero', 'skill_name', 'skill_level', 'training_file', 'parent', 'generation', 'val_set', 'weights_sha256', 'template_hash'];

function facts(one: Details): Record<string, unknown> {
  return { ...one.record, size: one.size, eval: one.eval, parents: one.parents.count };
}

const known = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

function row(key: string, a: unknown, b: unknown): Difference {
  const show = NUMBERS[key];
  const text = (value: unknown) => (value === null || value === undefined || value === '' ? '-' : show && known(value) ? show(value) : String(value));
  const change = show && known(a) && known(b) ? signed(show)(b - a) : null;
  return { key, a: text(a), b: text(b), change, same: a === b || (a ?? null) === (b ?? null) };
}

export const evalName = (one: { skill: string; level: number; kind: string }): string =>
  `${one.skill.toUpperCase()} L${one.level}${one.kind === 'gate' ? '' : ` (${one.kind})`}`;

function evalRows(a: Details, b: Details): Difference[] {
  const table = (one: Details) => new Map(one.evals.map((found) => [evalName(found), found]));
  const [left, right] = [table(a), table(b)];
  return [...new Set([...left.keys(), ...right.keys()])].map((name) => {
    const [x, y] = [left.get(name), right.get(name)];
    const text = (found: typeof x) => (found ? `${found.correct} / ${found.n}` : '-');
    const change = x && y ? signed(format.share)(y.correct / y.n - x.correct / x.n) : null;
    return { key: name, a: text(x), b: text(y), change, same: !!x && !!y && x.correct === y.correct && x.n === y.n };
  });
}

/** Every recorded field of both, numbers with their change, then the evals that either has. */
export function differences(a: Details, b: Details): Difference[] {
  const [x, y] = [facts(a), facts(b)];
  return [...Object.keys(NUMBERS), ...TEXTS].map((key) => row(key, x[key], y[key])).concat(evalRows(a, b));
}

export type DiskPart = 'checkpoints' | 'quests' | 'evals' | 'trash' | 'other' | 'free';

/** Shares of the whole disk, in the order of the bar; they add up to one. */
export function diskParts(disk: Plan['disk']): { part: DiskPart; bytes: number; share: number }[] {
  const ours = disk.checkpoints + disk.quests + disk.evals + disk.trash;
  const other = Math.max(0, disk.total - disk.free - ours);
  const total = Math.max(1, ours + other + disk.free);
  const bytes: Record<DiskPart, number> = { checkpoints: disk.checkpoints, quests: disk.quests, evals: disk.evals, trash: disk.trash, other, free: disk.free };
  return (Object.keys(bytes) as DiskPart[]).map((part) => ({ part, bytes: bytes[part], share: bytes[part] / total }));
}
