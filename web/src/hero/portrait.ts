// Data of the hero's portrait: what each rank, state and seed looks like.
import type { BattleState } from '../data/types';
import { stableHash } from '../text/foe';
import { rankIndex, type Rank } from '../text/rank';

export type PortraitState = BattleState | 'sparring';

export interface Gem {
  color: string;
  /** Lit pips, 0 to 3. */
  tier: number;
  name: string;
}

export interface Metal {
  light: string;
  mid: string;
  dark: string;
}

export const METALS: Record<Rank, Metal> = {
  hood: { light: '#8d7c9c', mid: '#5b4d6b', dark: '#2d2438' },
  bronze: { light: '#f2b27c', mid: '#b06a36', dark: '#5e3214' },
  silver: { light: '#f4f3ff', mid: '#a9a6c4', dark: '#55516e' },
  gold: { light: '#ffe6a0', mid: '#d99a2e', dark: '#75430b' },
  horned: { light: '#ffe6a0', mid: '#d99a2e', dark: '#75430b' },
  crowned: { light: '#fff3c4', mid: '#eab544', dark: '#8a5210' },
};

export interface Cloak {
  light: string;
  mid: string;
  dark: string;
}

const CLOAKS: readonly Cloak[] = [
  { light: '#6b55a8', mid: '#3a2a66', dark: '#170f2b' },
  { light: '#4f6cb0', mid: '#263a6e', dark: '#0e1630' },
  { light: '#a8506a', mid: '#652540', dark: '#280d1b' },
  { light: '#4c8f80', mid: '#1f5149', dark: '#0a211f' },
  { light: '#a5784a', mid: '#603f22', dark: '#27170b' },
  { light: '#7a7f8f', mid: '#3f4454', dark: '#171a22' },
];

/** Shape of the mask's lower half. */
export type MaskCut = 'grille' | 'slits' | 'chevron';
const CUTS: readonly MaskCut[] = ['grille', 'slits', 'chevron'];

export interface Looks {
  cloak: Cloak;
  cut: MaskCut;
}

/** The same seed always gives the same looks; DIO's own name gives the violet cloak and the grille. */
export function looksOf(seed: string): Looks {
  if (seed === 'DIO') return { cloak: CLOAKS[0] as Cloak, cut: 'grille' };
  const hash = stableHash(seed);
  return {
    cloak: CLOAKS[hash % CLOAKS.length] as Cloak,
    cut: CUTS[(hash >>> 8) % CUTS.length] as MaskCut,
  };
}

export interface Mood {
  eyes: 'lit' | 'half' | 'low' | 'right' | 'hurt' | 'out';
  lantern: number;
  grey: boolean;
}

const MOODS: Record<PortraitState, Mood> = {
  training: { eyes: 'lit', lantern: 1, grey: false },
  sparring: { eyes: 'lit', lantern: 1, grey: false },
  starting: { eyes: 'half', lantern: 0.8, grey: false },
  paused: { eyes: 'half', lantern: 0.6, grey: false },
  idle: { eyes: 'low', lantern: 0.45, grey: false },
  stopped: { eyes: 'low', lantern: 0.3, grey: false },
  evaluating: { eyes: 'right', lantern: 1, grey: false },
  error: { eyes: 'hurt', lantern: 0.7, grey: false },
  offline: { eyes: 'out', lantern: 0, grey: true },
};

export const moodOf = (state: PortraitState): Mood => MOODS[state];

export const has = (rank: Rank, least: Rank): boolean => rankIndex(rank) >= rankIndex(least);

/** Pips of a skill's gem: one from the first mastered level, two from a third, three from two thirds of all. */
export function tierOf(mastered: number | null, maxLevel: number | null): number {
  if (!mastered || !maxLevel) return 0;
  const share = mastered / maxLevel;
  return share >= 2 / 3 ? 3 : share >= 1 / 3 ? 2 : 1;
}
