// Authors of the glyphs in use (the folders of the game-icons repository).

export interface Author {
  name: string;
  site: string;
  glyphs: readonly string[];
}

export const AUTHORS: readonly Author[] = [];
