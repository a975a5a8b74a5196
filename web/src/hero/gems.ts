// Which gems the hero wears: one per skill of the snapshot.
import type { Snapshot } from '../data/types';
import { readable } from '../text/color';
import { tierOf, type Gem } from './portrait';

const CARD = '#0c0813';

export function gemsOf(snapshot: Snapshot): Gem[] {
  return Object.entries(snapshot.skills).map(([name, skill]) => ({
    name,
    color: readable(skill.color, CARD),
    tier: tierOf(skill.mastered, skill.max_level),
  }));
}
