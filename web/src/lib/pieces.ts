// Splits "step <hero.step:int> of <battle.steps_in_quest:int>" into text and value references.

export type Piece = string | { path: string; format: string };

export function pieces(text: string): Piece[] {
  const out: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(/<([\w.-]+):(\w+)>/g)) {
    if (match.index > at) out.push(text.slice(at, match.index));
    out.push({ path: match[1] ?? '', format: match[2] ?? 'int' });
    at = match.index + match[0].length;
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}
