// The arithmetic of the loss chart: pure, so that it can be tested.
import type { Metrics } from '../data/types';

export interface LossPoint {
  x: number;
  last: number;
}

/** Exponential mean with the start bias removed: s_n = (1-a) * sum a^(n-k) x_k / (1 - a^n). */
export function smooth(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}

/** One x axis for train points and validation points, each with null where it has no value. */
export function align(points: readonly LossPoint[], val: Metrics['val']): { x: number[]; train: (number | null)[]; val: (number | null)[] } {
  const train = new Map(points.map((point) => [point.x, point.last]));
  const check = new Map(val.map((point) => [point.x, point.y]));
  const x = [...new Set([...train.keys(), ...check.keys()])].sort((a, b) => a - b);
  return { x, train: x.map((at) => train.get(at) ?? null), val: x.map((at) => check.get(at) ?? null) };
}

/** Adds a confirmed point at the end; a repeated or older step changes nothing. */
export function appended(points: readonly LossPoint[], step: number, loss: number): readonly LossPoint[] {
  const last = points.at(-1);
  if (!Number.isFinite(loss) || (last && step <= last.x)) return points;
  return [...points, { x: step, last: loss }];
}

/** Whether the newest point lies at least 1/width of the whole range right of the last drawn one. */
export function worthDrawing(points: readonly LossPoint[], drawnTo: number, width: number): boolean {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return false;
  if (points.length < 50 || drawnTo < first.x) return last.x !== drawnTo;
  return (last.x - drawnTo) * width >= last.x - first.x;
}

const MOST_MARKS = 24;
const WEIGHT: Readonly<Record<string, number>> = { 'hero.champion': 3, champion: 3, 'hero.level_up': 2, level: 2 };

/** Marks that can still be told apart: champions before levels before alerts, the newest of each first, at most 24. */
export function marksToDraw(markers: Metrics['markers']): Metrics['markers'] {
  const ranked = [...markers].sort((a, b) => (WEIGHT[b.kind] ?? 1) - (WEIGHT[a.kind] ?? 1) || b.x - a.x);
  return ranked.slice(0, MOST_MARKS).sort((a, b) => a.x - b.x);
}

export interface Trend {
  first: number;
  last: number;
  steps: number;
  best: number;
  bestAt: number;
}

export function trendOf(points: readonly LossPoint[]): Trend | null {
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last || points.length < 2) return null;
  const best = points.reduce((low, point) => (point.last < low.last ? point : low), first);
  return { first: first.last, last: last.last, steps: last.x - first.x, best: best.last, bestAt: best.x };
}
