// The away summary as sentences, from counts of recorded events (a list counts as its length).
import { t, type Key } from '../i18n';
import { duration, int } from '../lib/format';
import type { Away } from '../data/types';

const COUNTED = ['levels', 'quests', 'evals', 'masteries', 'champions', 'errors'] as const;

export function countOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

/** One fact per line, only those that are there. */
export function awayFacts(away: Away): string[] {
  const out: string[] = [];
  const steps = countOf(away.steps);
  const trained = Math.max(0, (away.seconds ?? 0) - (away.idle_s ?? 0));
  if (steps > 0) out.push(t('away.steps', { n: int(steps), time: away.idle_s == null ? null : duration(trained) }));
  for (const name of COUNTED) {
    const n = countOf(away[name]);
    if (n > 0) out.push(t(`away.${name}${n === 1 ? '1' : ''}` as Key, { n: int(n) }));
  }
  if ((away.idle_s ?? 0) >= 60) out.push(t('away.idle', { time: duration(away.idle_s ?? 0) }));
  return out;
}

export function awaySentence(away: Away): string {
  const facts = awayFacts(away);
  return facts.length > 0 ? `${facts.join(', ')}.` : t('away.nothing');
}

/** What the server tells one by one: masteries, champions, errors, newest first. */
export function awayTold(away: Away): { seq: number; at: string; text: string }[] {
  return Object.values(away.told ?? {}).flat().sort((a, b) => b.seq - a.seq);
}
