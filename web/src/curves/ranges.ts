// Up to six stretches of the training, laid over each other: pure parts.
import type { Metrics } from '../data/types';

export const MOST = 6;
export const COLORS = ['--gold', '--teal', '--violet', '--coral', '--green', '--chart-raw'] as const;

export interface Range {
  from: number;
  to: number;
}

/** Whole steps in the right order, null when they are no range. */
export function rangeOf(from: number, to: number): Range | null {
  if (!Number.isFinite(from) || !Number.isFinite(to)) return null;
  const [a, b] = [Math.max(0, Math.floor(Math.min(from, to))), Math.floor(Math.max(from, to))];
  return b > a ? { from: a, to: b } : null;
}

/** "0-500,500-1000" of the address, at most six. */
export function parseRanges(text: string | null): Range[] {
  return (text ?? '').split(',').flatMap((part) => {
    const match = /^(\d{1,15})-(\d{1,15})$/.exec(part.trim());
    const range = match ? rangeOf(Number(match[1]), Number(match[2])) : null;
    return range ? [range] : [];
  }).slice(0, MOST);
}

export const rangesText = (ranges: readonly Range[]): string => ranges.map(({ from, to }) => `${from}-${to}`).join(',');

/** One x axis for all curves; laid over each other they all begin at 0. */
export function overlay(curves: readonly { range: Range; points: Metrics['points'] }[], aligned: boolean): { x: number[]; values: (number | null)[][] } {
  const maps = curves.map(({ range, points }) => new Map(points.map((point) => [point.x - (aligned ? range.from : 0), point.last])));
  const x = [...new Set(maps.flatMap((map) => [...map.keys()]))].sort((a, b) => a - b);
  return { x, values: maps.map((map) => x.map((at) => map.get(at) ?? null)) };
}

/** The ranges between neighbouring checkpoints, newest first. */
export function between(steps: readonly number[]): Range[] {
  const sorted = [...new Set([0, ...steps])].sort((a, b) => a - b);
  return sorted.slice(1).map((to, i) => ({ from: sorted[i] ?? 0, to })).reverse();
}
