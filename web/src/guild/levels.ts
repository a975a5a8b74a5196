// What a level of a skill is to the hero now.
import type { Skill } from '../data/types';

export type LevelState = 'mastered' | 'rusty' | 'training' | 'locked';

export const LEVEL_SIGNS: Record<LevelState, string> = { mastered: '◆', rusty: '◈', training: '▶', locked: '◇' };

export function levelState(level: number, skill: Pick<Skill, 'mastered' | 'training' | 'rusty'>): LevelState {
  if (level <= (skill.mastered ?? 0)) return skill.rusty.includes(level) ? 'rusty' : 'mastered';
  return level === skill.training ? 'training' : 'locked';
}
