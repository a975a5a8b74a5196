// Single keys. They can be switched off (WCAG 2.1.4) and never act while somebody types or a dialog is open.
import { realm } from '../data/realm.svelte';
import { t, type Key } from '../i18n';
import { spoken } from '../text/state';
import { announcer } from './announce.svelte';
import { prefs } from './prefs.svelte';
import { addressOf, router, type Page } from './router.svelte';

export const PAGE_KEYS: Record<string, Page> = {
  '1': 'tavern', '2': 'quests', '3': 'oracle', '4': 'vault', '5': 'guild', '6': 'scheduler', '7': 'settings', '?': 'help',
};

function busy(event: KeyboardEvent): boolean {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
  const at = event.target as HTMLElement | null;
  if (at?.closest?.('input, textarea, select, [contenteditable], [role=slider], dialog, [popover]')) return true;
  return document.querySelector('dialog[open]') !== null;
}

function pressed(event: KeyboardEvent): void {
  if (!prefs.keys || busy(event)) return;
  const page = PAGE_KEYS[event.key];
  if (page) router.go(addressOf(page));
  else if (event.key === 's') announcer.say(spoken(realm.snapshot));
  else if (event.key === 'e') announcer.toast(t('effects.now', { mode: t(`effects.${prefs.nextEffects()}` as Key) }));
  else return;
  event.preventDefault();
}

export function listenForKeys(): void {
  addEventListener('keydown', pressed);
}
