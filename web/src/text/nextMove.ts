// What the button of the "Next move" card does: an address of ours, or one order from a short table.
import type { BodyOf } from '../data/api';
import type { Key } from '../i18n';
import { pageOf } from '../lib/router.svelte';

export type Order =
  | { kind: 'open'; address: string; label: Key }
  | { kind: 'add'; label: Key }
  | { kind: 'post'; path: '/api/training/control'; body: BodyOf<'/api/training/control'>; label: Key };

const ORDERS: Record<string, Order> = {
  create_hero: { kind: 'open', address: '/begin', label: 'next.open' },
  resume: { kind: 'post', path: '/api/training/control', body: { action: 'resume' }, label: 'next.resume' },
  failed: { kind: 'open', address: '/quests?tab=failed', label: 'next.open' },
  services: { kind: 'open', address: '/#watch', label: 'next.open' },
  add_quest: { kind: 'add', label: 'next.add' },
};

/** Actions: a word of the table or "/page"; anything else has no button. */
export function orderOf(action: string | null): Order | null {
  if (!action) return null;
  if (Object.hasOwn(ORDERS, action)) return ORDERS[action] ?? null;
  if (!action.startsWith('/') || action.startsWith('//')) return null;
  const path = action.split(/[?#]/)[0] ?? action;
  return pageOf(path) === 'lost' ? null : { kind: 'open', address: action, label: 'next.open' };
}
