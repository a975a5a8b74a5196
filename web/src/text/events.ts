// What the log says about an event: made from its kind and its data, never from text the server composed.
import { plain } from '../guild/plain';
import * as format from '../lib/format';
import { maybe, t } from '../i18n';
import { prefs } from '../lib/prefs.svelte';
import type { RealmEvent } from '../data/types';
import type { CoreIcon } from '../generated/icons';

export type Tone = 'plain' | 'gold' | 'coral' | 'teal' | 'violet' | 'green';
export type Group = 'battle' | 'quests' | 'checkpoints' | 'progress' | 'system';
/** 1 banner, 2 important toast, 3 toast, 4 log only (TAVERN 1.3). */
export type Tier = 1 | 2 | 3 | 4;

interface Style {
  icon: CoreIcon;
  tone: Tone;
  group: Group;
  tier: Tier;
}

const style = (icon: CoreIcon, tone: Tone, group: Group, tier: Tier = 4): Style => ({ icon, tone, group, tier });

const STYLES: Record<string, Style> = {
  'queue.added': style('scroll-unfurled', 'plain', 'quests'),
  'queue.rejected': style('stop-sign', 'coral', 'quests', 3),
  'queue.claimed': style('crossed-swords', 'plain', 'quests'),
  'queue.completed': style('two-coins', 'gold', 'quests', 3),
  'queue.failed': style('broken-shield', 'coral', 'quests', 3),
  'queue.skipped': style('fast-forward-button', 'plain', 'quests'),
  'queue.low': style('hourglass', 'plain', 'quests'),
  'queue.empty': style('hourglass', 'coral', 'quests', 2),
  'data.generating': style('spell-book', 'plain', 'quests'),
  'data.generated': style('spell-book', 'teal', 'quests'),
  'battle.started': style('crossed-swords', 'teal', 'battle'),
  'battle.paused': style('pause-button', 'plain', 'battle'),
  'battle.resumed': style('play-button', 'teal', 'battle'),
  'battle.stopped': style('stop-sign', 'plain', 'battle'),
  'battle.failed': style('death-skull', 'coral', 'battle', 1),
  'battle.best_loss': style('impact-point', 'gold', 'battle'),
  'battle.loss_spike': style('broken-shield', 'coral', 'battle'),
  'checkpoint.saved': style('open-treasure-chest', 'plain', 'checkpoints', 3),
  'checkpoint.evaluated': style('target-arrows', 'violet', 'checkpoints'),
  'checkpoint.dropped': style('trash-can', 'plain', 'checkpoints'),
  'checkpoint.restored': style('cycle', 'plain', 'checkpoints'),
  'checkpoint.pinned': style('save', 'plain', 'checkpoints'),
  'hero.created': style('star-formation', 'gold', 'progress', 3),
  'hero.level_up': style('upgrade', 'gold', 'progress', 3),
  'hero.champion': style('crown', 'gold', 'progress', 2),
  'skill.mastered': style('laurels', 'gold', 'progress', 2),
  'skill.set_aside': style('broken-shield', 'coral', 'system'),
  'skill.returned': style('lantern-flame', 'green', 'system'),
  'skill.rusty': style('broken-shield', 'coral', 'progress', 3),
  'school.started': style('spell-book', 'plain', 'progress'),
  'school.finished': style('spell-book', 'teal', 'progress', 3),
  'sparring.finished': style('crossed-swords', 'teal', 'progress', 3),
  'achievement.unlocked': style('trophy-cup', 'gold', 'progress', 3),
  'task.finished': style('gears', 'plain', 'system'),
  'asset.healed': style('auto-repair', 'green', 'checkpoints'),
  'chronicle.entry': style('spell-book', 'gold', 'checkpoints'),
  'chronicle.restored': style('cycle', 'gold', 'checkpoints'),
  'hero.exported': style('save', 'plain', 'checkpoints'),
  'store.set_aside': style('broken-shield', 'coral', 'system', 2),
  'transfer.failed': style('broken-shield', 'coral', 'checkpoints'),
  'service.up': style('lantern-flame', 'green', 'system'),
  'service.down': style('power-lightning', 'coral', 'system'),
  'service.mended': style('auto-repair', 'green', 'system'),
  'service.fallen': style('death-skull', 'coral', 'system', 2),
  'settings.changed': style('gears', 'plain', 'system'),
  'patrol.failed': style('watchtower', 'coral', 'system', 2),
};

/** Of kinds that have no look of their own, by what comes before the dot. */
const OTHERS: Record<string, Style> = {
  asset: style('locked-chest', 'plain', 'checkpoints'),
  backup: style('save', 'plain', 'checkpoints'),
  transfer: style('save', 'plain', 'checkpoints'),
  queue: style('scroll-unfurled', 'plain', 'quests'),
};
const UNKNOWN = style('info', 'plain', 'system');
export const GROUPS: readonly Group[] = ['battle', 'quests', 'checkpoints', 'progress', 'system'];

export const styleOf = (kind: string): Style => STYLES[kind] ?? OTHERS[kind.split('.')[0] ?? ''] ?? UNKNOWN;

/** One field of an event as text; the field's name says its unit. */
export function fieldText(name: string, value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? t('word.yes') : t('word.no');
  if (typeof value !== 'number' || !Number.isFinite(value)) return null;
  if (/(^|_)loss$/.test(name) || name === 'best') return format.loss(value);
  if (name === 'acc' || name === 'accuracy') return format.share(value);
  if (name === 'seconds' || name.endsWith('_s')) return format.duration(value);
  if (name === 'size' || name.endsWith('_bytes')) return format.bytes(value);
  return Number.isInteger(value) ? format.int(value) : format.loss(value);
}

const ALIASES: Record<string, readonly string[]> = {
  name: ['name', 'quest', 'file', 'file_name', 'service', 'task', 'title'],
  reason: ['reason', 'cause', 'error', 'message'],
  loss: ['loss', 'value', 'train_loss'],
  value: ['value', 'val_loss', 'metric_value'],
  previous: ['previous', 'before', 'previous_value', 'was'],
  rows: ['rows', 'count', 'example_count', 'examples'],
  skill: ['skill', 'skill_id'],
};

/** Quests that the curriculum made are named by their skill and level; their file names say nothing else that is not told. */
export const questName = (name: string): string =>
  prefs.labels === 'real' ? name : name.replace(/^(?:[0-9a-hjkmnp-tv-z]{26}\.)?train_(\w+)_level(\d+)_\d+_\d{8}_\d{6}\.jsonl$/, (_, skill: string, level: string) => `${skill.toUpperCase()} L${level}`);

function params(event: RealmEvent): Record<string, string | null> {
  const data: Record<string, unknown> = event.data ?? {};
  const out: Record<string, string | null> = {};
  for (const [name, value] of Object.entries(data)) out[name] = fieldText(name, value);
  for (const [name, candidates] of Object.entries(ALIASES)) {
    out[name] ??= candidates.map((field) => fieldText(field, data[field])).find((text) => text !== null) ?? null;
  }
  out.subject = event.subject || null;
  out.name ??= out.subject;
  if (out.name) out.name = questName(out.name);
  const step = event.step ?? data.step;
  out.step = typeof step === 'number' ? format.int(step) : null;
  if (typeof out.skill === 'string') out.skill = out.skill.toUpperCase();
  if (out.metric) out.metric = maybe(`metric.${out.metric}`) ?? out.metric;
  const [correct, n] = [data.correct, data.n];
  if (typeof correct === 'number' && typeof n === 'number' && n > 0) out.share = format.share(correct / n);
  return out;
}

/** One sentence about the event. */
export function sentence(event: RealmEvent): string {
  return maybe(`event.${event.kind}`, params(event)) ?? plain([event.kind, event.subject].filter(Boolean).join(': '));
}
