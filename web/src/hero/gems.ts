// Which gems the hero wears: one per skill of the snapshot. A tick leaves the skills as they are, so those who show them ask again only when they change.
import type { Snapshot } from '../data/types';
import { readable } from '../text/color';
import { tierOf, type Gem } from './portrait';

const CARD = '#0c0813';

export function gemsOf(skills: Snapshot['skills']): Gem[] {
  return Object.entries(skills).map(([name, skill]) => ({
    name,
    color: readable(skill.color, CARD),
    tier: tierOf(skill.mastered, skill.max_level),
  }));
}
