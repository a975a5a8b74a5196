// Loads a component together with the strings of the pages that are not the landing page.
import type { Component } from 'svelte';
import { loaded } from './loaded.svelte';

type Module<C> = { default: C };

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any props; the caller's use is checked against the component
export async function late<C extends Component<any, any, any>>(loading: Promise<Module<C>>): Promise<Module<C>> {
  const [module] = await Promise.all([loading, loaded.load()]);
  return module;
}
