// Every word of the Tavern comes from a file of strings; keys are checked by the compiler. The landing page's words
// load with it, the others with the first page that needs them (see late.ts).
import { prefs } from '../lib/prefs.svelte';
import en from './en.json';
import type pages from './en.pages.json';
import { fill, type Params } from './fill';

export type Key = keyof typeof en | keyof typeof pages;

const strings: Record<string, string> = { ...en };

export function addStrings(more: Record<string, string>): void {
  Object.assign(strings, more);
}

export const t = (key: Key, params?: Params): string => fill(strings[key] ?? key, params);

/** The string of a key made at run time (event kinds, states), null when there is none. */
export function maybe(key: string, params?: Params): string | null {
  const template = Object.hasOwn(strings, key) ? strings[key] : undefined;
  return template === undefined ? null : fill(template, params);
}

type Dual = Extract<Key, `dual.${string}.game`> extends `dual.${infer Name}.game` ? Name : never;

/** Game and real word of one thing, and which to show under the label switch. */
export function dual(name: Dual): { game: string; real: string; main: string; side: string } {
  const game = strings[`dual.${name}.game`] ?? name;
  const real = strings[`dual.${name}.real`] ?? name;
  if (prefs.labels === 'real') return { game, real, main: real, side: '' };
  return { game, real, main: game, side: prefs.labels === 'both' && real !== game ? real : '' };
}
