// Loads a component together with the strings it needs beyond those of the landing page's first sight.
import type { Component } from 'svelte';
import { loaded } from './loaded.svelte';

type Module<C> = { default: C };

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any props; the caller's use is checked against the component
type Any = Component<any, any, any>;

/** A page, or a part of one, with the strings of all pages. */
export async function late<C extends Any>(loading: Promise<Module<C>>): Promise<Module<C>> {
  const [module] = await Promise.all([loading, loaded.all()]);
  return module;
}

/** A part of the landing page that is not there at once. */
export async function lateHere<C extends Any>(loading: Promise<Module<C>>): Promise<Module<C>> {
  const [module] = await Promise.all([loading, loaded.load('tavern')]);
  return module;
}
