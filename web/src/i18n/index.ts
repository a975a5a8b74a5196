// Every word of the Tavern comes from a file of strings; keys are checked by the compiler.
import { prefs } from '../lib/prefs.svelte';
import { fill, type Params } from './fill';
import { loaded } from './loaded.svelte';
import { strings, type Key } from './strings';

export type { Key } from './strings';

/** The template of a key; under "Real" labels its ".real" variant where there is one. */
function template(key: string): string | undefined {
  const plain = Object.hasOwn(strings, key) ? strings[key] : undefined;
  if (prefs.labels !== 'real') return plain;
  if (!loaded.tavern) void loaded.load('tavern');
  void loaded.pages;
  return strings[`${key}.real`] ?? plain;
}

export const t = (key: Key, params?: Params): string => fill(template(key) ?? key, params);

/** The string of a key made at run time (event kinds, states), null when there is none. */
export function maybe(key: string, params?: Params): string | null {
  const found = template(key);
  return found === undefined ? null : fill(found, params);
}

type Dual = Extract<Key, `dual.${string}.game`> extends `dual.${infer Name}.game` ? Name : never;

/** Game and real word of one thing, and which to show under the label switch. */
export function dual(name: Dual): { game: string; real: string; main: string; side: string } {
  const game = strings[`dual.${name}.game`] ?? name;
  const real = strings[`dual.${name}.real`] ?? name;
  if (prefs.labels === 'real') return { game, real, main: real, side: '' };
  return { game, real, main: game, side: prefs.labels === 'both' && real !== game ? real : '' };
}
