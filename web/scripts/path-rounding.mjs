// Rounds the numbers of an SVG path to whole units of a 512 grid, with the error carried on so that it cannot grow.
const ARGUMENTS = { m: 2, l: 2, h: 1, v: 1, c: 6, s: 4, q: 4, t: 2, a: 7, z: 0 };
const NUMBER = /[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?/iy;
const FLAG = /[01]/y;
const GAP = /[\s,]*/y;

function take(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

/** Yields [command letter, arguments] for each segment, repeated commands spelled out. */
export function* segments(d) {
  let at = 0;
  while (at < d.length) {
    at += take(GAP, d, at).length;
    let letter = d[at++];
    if (letter === undefined) return;
    const count = ARGUMENTS[letter.toLowerCase()];
    if (count === undefined) throw new Error(`Not an SVG path command: "${letter}"`);
    if (count === 0) yield [letter, []];
    for (let first = true; count > 0; first = false) {
      at += take(GAP, d, at).length;
      if (!first && take(NUMBER, d, at) === undefined) break;
      const values = [];
      for (let i = 0; i < count; i++) {
        at += take(GAP, d, at).length;
        const flag = letter.toLowerCase() === 'a' && (i === 3 || i === 4);
        const found = take(flag ? FLAG : NUMBER, d, at);
        values.push(Number(found));
        at += found.length;
      }
      yield [letter, values];
      if (letter === 'm') letter = 'l';
      if (letter === 'M') letter = 'L';
    }
  }
}

const join = (numbers) => numbers.map((n, i) => (i > 0 && n >= 0 ? ` ${n}` : `${n}`)).join('');

/** The same path, relative commands only, each end point on the grid of whole units. */
export function roundPath(d) {
  let [x, y, startX, startY, gx, gy, gridStartX, gridStartY] = [0, 0, 0, 0, 0, 0, 0, 0];
  let out = '';
  let last = '';
  for (const [letter, values] of segments(d)) {
    const low = letter.toLowerCase();
    const relative = letter === low;
    if (low === 'z') {
      [x, y, gx, gy] = [startX, startY, gridStartX, gridStartY];
      out += 'z';
      last = 'z';
      continue;
    }
    const [ox, oy] = relative ? [x, y] : [0, 0];
    let written;
    if (low === 'h') [x, written] = [ox + values[0], [Math.round(ox + values[0]) - gx]];
    else if (low === 'v') [y, written] = [oy + values[0], [Math.round(oy + values[0]) - gy]];
    else if (low === 'a') {
      [x, y] = [ox + values[5], oy + values[6]];
      const radii = values.slice(0, 2).map((r) => Math.round(r * 10) / 10);
      written = [...radii, Math.round(values[2]), values[3], values[4], Math.round(x) - gx, Math.round(y) - gy];
    } else {
      written = values.map((v, i) => (i % 2 === 0 ? Math.round(ox + v) - gx : Math.round(oy + v) - gy));
      [x, y] = [ox + values.at(-2), oy + values.at(-1)];
    }
    [gx, gy] = [Math.round(x), Math.round(y)];
    if (low === 'm') [startX, startY, gridStartX, gridStartY] = [x, y, gx, gy];
    const joined = join(written);
    const again = low === last && low !== 'm';
    out += again ? (joined.startsWith('-') ? joined : ` ${joined}`) : low + joined;
    last = low;
  }
  return out;
}
