// Who stands against the hero: a function of skill, level and kind of quest, the same for everybody.
import { maybe, t } from '../i18n';
import type { Creature } from '../generated/icons';

export interface Foe {
  glyph: Creature;
  name: string;
}

/** Creatures of a known skill, from its first levels to its last. */
const BANDS: Record<string, readonly Creature[]> = {
  sy: ['golem-head', 'spectre', 'medusa-head', 'gargoyle', 'hydra'],
  bin: ['slime', 'imp', 'cyclops', 'minotaur', 'spiked-dragon-head'],
};

const UNKNOWN: readonly Creature[] = [
  'goblin', 'golem-head', 'spectre', 'minotaur', 'wyvern', 'gargoyle', 'hydra', 'imp', 'cultist', 'slime',
  'dragon-head', 'diablo-skull', 'medusa-head', 'cyclops', 'mimic-chest', 'troll', 'ogre', 'orc-head',
  'grim-reaper', 'sea-serpent', 'lizardman', 'scorpion', 'rock-golem', 'centaur',
];

/** FNV-1a, 32 bit: the same creature for the same name on every machine. */
export function stableHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193) >>> 0;
  }
  return hash;
}

export function foeOf(skill: string | null, level: number | null, maxLevel: number | null, kind: string | null): Foe {
  if (kind?.startsWith('sparring')) return { glyph: 'robot-golem', name: t('foe.sparring') };
  if (skill === null) return { glyph: pick(kind ?? 'file'), name: t('foe.file') };
  const band = BANDS[skill];
  const name = maybe(`foe.${skill}`) ?? t('foe.unknown', { skill: skill.toUpperCase() });
  if (!band) return { glyph: pick(skill), name };
  const share = Math.max(0, ((level ?? 1) - 1) / Math.max(1, maxLevel ?? 30));
  const index = Math.min(band.length - 1, Math.floor(share * band.length));
  return { glyph: band[index] ?? pick(skill), name };
}

function pick(name: string): Creature {
  return UNKNOWN[stableHash(name) % UNKNOWN.length] ?? 'goblin';
}
