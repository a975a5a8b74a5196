// Pages by name; all but the Tavern load when they are first visited.
import type { Component } from 'svelte';
import { late } from '../i18n/late';
import type { Page } from '../lib/router.svelte';
import Tavern from './Tavern.svelte';

type Loader = () => Promise<{ default: Component }>;

export const PAGES: Record<Page, Loader> = {
  tavern: () => Promise.resolve({ default: Tavern }),
  quests: () => late(import('./Quests.svelte')),
  oracle: () => late(import('./Oracle.svelte')),
  vault: () => late(import('./Vault.svelte')),
  guild: () => late(import('./Guild.svelte')),
  scheduler: () => late(import('./Scheduler.svelte')),
  settings: () => late(import('./Settings.svelte')),
  achievements: () => late(import('./Achievements.svelte')),
  help: () => late(import('./Help.svelte')),
  credits: () => late(import('./Credits.svelte')),
  begin: () => late(import('./Begin.svelte')),
  film: () => late(import('./Film.svelte')),
  curves: () => late(import('./Curves.svelte')),
  tasks: () => late(import('./Tasks.svelte')),
  lost: () => late(import('./Lost.svelte')),
};
