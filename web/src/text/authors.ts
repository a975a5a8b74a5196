// Authors of the glyphs in use (the folders of the game-icons repository).

export interface Author {
  name: string;
  site: string;
  /** Checked against the folders; the glyphs not named here are by the first two or by further contributors. */
  glyphs: readonly string[];
}

export const AUTHORS: readonly Author[] = [
  { name: 'Lorc', site: 'https://lorcblog.blogspot.com', glyphs: ['laurels', 'target-arrows', 'most others'] },
  { name: 'Delapouite', site: 'https://delapouite.com', glyphs: ['tavern-sign', 'watchtower', 'upgrade', 'sparkles', 'most others'] },
  { name: 'Sbed', site: 'https://opengameart.org/content/95-game-icons', glyphs: ['shield', 'death-skull', 'help'] },
  { name: 'Skoll', site: '', glyphs: ['open-treasure-chest', 'cultist', 'troll', 'chess-knight'] },
  { name: 'Guard13007', site: '', glyphs: ['pause-button', 'play-button'] },
  { name: 'Zeromancer', site: '', glyphs: ['heart-plus'] },
  { name: 'Caro Asercion', site: '', glyphs: ['goblin'] },
  { name: 'Cathelineau', site: '', glyphs: ['medusa-head'] },
];
