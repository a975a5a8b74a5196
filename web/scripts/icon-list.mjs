// Which glyphs of game-icons.net the Tavern shows. "core" loads with the page, "creatures" only with a battle.
export const CORE = [
  // places
  'tavern-sign', 'scroll-unfurled', 'crystal-ball', 'open-treasure-chest', 'castle', 'hourglass', 'gears',
  'anvil-impact', 'watchtower',
  // stats
  'upgrade', 'sparkles', 'crossed-swords', 'shield', 'target-arrows', 'two-coins', 'heart-plus', 'battery-100',
  'heat-haze', 'processor', 'microchip', 'crown',
  // skills; a skill file may name any of these, the shipped files' own glyphs are added by themselves
  'jigsaw-box', 'abacus', 'spell-book', 'chess-knight', 'brain', 'quill-ink', 'calculator', 'globe', 'test-tubes',
  'conversation', 'musical-notes', 'compass', 'stopwatch', 'maze', 'wizard-staff',
  // events and states
  'star-formation', 'broken-shield', 'death-skull', 'pause-button', 'play-button', 'stop-sign',
  'fast-forward-button', 'laurels', 'trophy-cup', 'locked-chest', 'power-lightning', 'auto-repair',
  'info', 'help', 'trash-can', 'cycle', 'lantern-flame', 'magnifying-glass', 'impact-point',
  'medal', 'save', 'raven',
];

export const CREATURES = [
  'golem-head', 'rock-golem', 'goblin', 'spectre', 'minotaur', 'wyvern', 'gargoyle', 'hydra', 'imp', 'cultist',
  'slime', 'dragon-head', 'spiked-dragon-head', 'diablo-skull', 'medusa-head', 'cyclops', 'mimic-chest', 'troll',
  'ogre', 'orc-head', 'grim-reaper', 'sea-serpent', 'lizardman', 'scorpion', 'robot-golem',
  'centaur',
];
