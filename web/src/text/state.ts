// Words for what the hero is doing, used by the header, the title and the read-out.
import { t, type Key } from '../i18n';
import { duration, int, loss, share } from '../lib/format';
import type { Snapshot } from '../data/types';

const STATES = new Set(['training', 'paused', 'idle', 'stopped', 'evaluating', 'error', 'offline', 'starting']);

export const boardIsEmpty = (snapshot: Snapshot): boolean =>
  [snapshot.queue.high, snapshot.queue.normal, snapshot.queue.low].every((count) => count === 0);

export function runState(snapshot: Snapshot | null): string {
  const state = snapshot?.battle.state;
  if (!snapshot || !state) return t('state.unknown');
  if (state === 'idle' && boardIsEmpty(snapshot)) return t('state.idleEmpty');
  return STATES.has(state) ? t(`state.${state}` as Key) : state;
}

/** Share of the current quest that is done, null outside a quest. */
export function questShare(snapshot: Snapshot | null): number | null {
  const done = snapshot?.battle.steps_done_in_quest;
  const all = snapshot?.battle.steps_in_quest;
  return done == null || !all ? null : Math.min(1, done / all);
}

/** "12 % SY L4 - Tavern" */
export function pageTitle(snapshot: Snapshot | null, page: string): string {
  if (!snapshot) return t('title.plain', { page });
  const part = questShare(snapshot);
  const { skill, quest_level: level, state } = snapshot.battle;
  if (state === 'training' && part !== null) {
    const what = skill ? `${skill.toUpperCase()}${level == null ? '' : ` L${level}`}` : null;
    return t('title.training', { share: share(part), what, page });
  }
  return t('title.state', { state: runState(snapshot), page });
}

/** The summary spoken by "Read status". */
export function spoken(snapshot: Snapshot | null): string {
  if (!snapshot) return t('spoken.nothing');
  const { hero, battle } = snapshot;
  const part = questShare(snapshot);
  return t('spoken.summary', {
    state: runState(snapshot),
    name: hero.name,
    level: hero.level,
    step: hero.step === null ? null : int(hero.step),
    loss: hero.loss === null ? null : loss(hero.loss),
    acc: hero.acc === null ? null : share(hero.acc),
    share: part === null ? null : share(part),
    left: battle.eta_s === null ? null : duration(battle.eta_s),
  });
}
