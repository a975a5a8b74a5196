// Counts the recorded triumphs since the page opened, so that the hero's eyes flare once for each.
import { realm } from '../data/realm.svelte';

const TRIUMPHS = new Set(['battle.best_loss', 'hero.level_up', 'hero.champion', 'skill.mastered']);

class Triumphs {
  count = $state(0);

  listen(): () => void {
    return realm.onEvent((event, late) => {
      if (!late && TRIUMPHS.has(event.kind)) this.count += 1;
    });
  }
}

export const triumphs = new Triumphs();
