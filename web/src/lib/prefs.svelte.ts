// What a person chose about the looks, kept in this browser.

export type Labels = 'game' | 'both' | 'real';
export type Effects = 'full' | 'calm' | 'none';
export type Theme = 'lantern' | 'parchment' | 'contrast';

const CHOICES = {
  labels: ['game', 'both', 'real'],
  effects: ['full', 'calm', 'none'],
  theme: ['lantern', 'parchment', 'contrast'],
} as const;
type Name = keyof typeof CHOICES;

const asked = (query: string): boolean => globalThis.matchMedia?.(query).matches ?? false;

function stored<T extends string>(name: Name, fallback: T): T {
  const value = globalThis.localStorage?.getItem(`realm.${name}`);
  return (CHOICES[name] as readonly string[]).includes(value ?? '') ? (value as T) : fallback;
}

class Prefs {
  labels = $state<Labels>(stored('labels', 'both'));
  effects = $state<Effects>(stored('effects', asked('(prefers-reduced-motion: reduce)') ? 'calm' : 'full'));
  theme = $state<Theme>(stored('theme', asked('(prefers-contrast: more)') ? 'contrast' : 'lantern'));
  keys = $state(globalThis.localStorage?.getItem('realm.keys') !== 'off');

  setLabels(value: Labels): void {
    this.labels = value;
    localStorage.setItem('realm.labels', value);
  }

  setEffects(value: Effects): void {
    this.effects = value;
    localStorage.setItem('realm.effects', value);
  }

  setTheme(value: Theme): void {
    this.theme = value;
    localStorage.setItem('realm.theme', value);
    this.apply();
  }

  setKeys(on: boolean): void {
    this.keys = on;
    localStorage.setItem('realm.keys', on ? 'on' : 'off');
  }

  nextEffects(): Effects {
    const order = CHOICES.effects;
    const next = order[(order.indexOf(this.effects) + 1) % order.length] ?? 'full';
    this.setEffects(next);
    return next;
  }

  apply(): void {
    document.documentElement.dataset.theme = this.theme;
  }
}

export const prefs = new Prefs();
