// Which glyphs of game-icons.net the Tavern shows. "core" loads with the page, "creatures" only with a battle.
export const CORE = [
  // places
  'tavern-sign', 'scroll-unfurled', 'crystal-ball', 'open-treasure-chest', 'castle', 'hourglass', 'gears',
  'anvil-impact', 'watchtower', 'sewing-string',
  // stats
  'upgrade', 'sparkles', 'crossed-swords', 'shield', 'target-arrows', 'two-coins', 'heart-plus', 'battery-100',
  'heat-haze', 'processor', 'microchip', 'crown',
  // skills
  'jigsaw-box', 'abacus', 'spell-book',
  // events and states
  'star-formation', 'broken-shield', 'death-skull', 'pause-button', 'play-button', 'stop-sign',
  'fast-forward-button', 'laurels', 'trophy-cup', 'locked-chest', 'padlock', 'power-lightning', 'auto-repair',
  'info', 'help', 'talk', 'trash-can', 'cycle', 'eye-target', 'lantern-flame', 'magnifying-glass', 'impact-point',
  'medal', 'save', 'ringing-bell',
];

export const CREATURES = [
  'golem-head', 'rock-golem', 'goblin', 'spectre', 'minotaur', 'wyvern', 'gargoyle', 'hydra', 'imp', 'cultist',
  'slime', 'dragon-head', 'spiked-dragon-head', 'diablo-skull', 'medusa-head', 'cyclops', 'mimic-chest', 'troll',
  'ogre', 'orc-head', 'grim-reaper', 'sea-serpent', 'lizardman', 'scorpion', 'robot-golem',
  'kraken-tentacle', 'warlock-eye', 'centaur', 'hooded-figure',
];
