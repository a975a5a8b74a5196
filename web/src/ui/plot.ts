// The geometry of a chart: scales, round ticks and the nearest point. Pure, so that it can be tested.

export interface Scale {
  low: number;
  high: number;
  log: boolean;
}
/** The drawn field inside the picture, in CSS pixels. */
export interface Field {
  left: number;
  top: number;
  width: number;
  height: number;
}

const EDGES = { left: 52, right: 10, top: 10, bottom: 26 };
export const fieldOf = (width: number, height: number): Field => ({
  left: EDGES.left, top: EDGES.top, width: Math.max(1, width - EDGES.left - EDGES.right), height: Math.max(1, height - EDGES.top - EDGES.bottom),
});

/** Where a value lies between the ends: 0 at the low end, 1 at the high one. */
export function shareOf({ low, high, log }: Scale, value: number): number {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

/** The value at a share of the scale. */
export const valueOf = ({ low, high, log }: Scale, share: number): number =>
  log ? low * (high / low) ** share : low + (high - low) * share;

/** A scale that holds every value with a little air around; a logarithmic one holds the positive values. */
export function scaleOf(lists: readonly (readonly (number | null)[])[], log: boolean, air = 0.05): Scale {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list) {
      if (value === null || !Number.isFinite(value) || (log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return { low: log ? 0.1 : 0, high: 1, log };
  if (log) {
    const room = low === high ? 2 : (high / low) ** air;
    return { low: low / room, high: high * room, log };
  }
  const room = low === high ? Math.abs(low) / 2 || 1 : (high - low) * air;
  return { low: low >= 0 ? Math.max(0, low - room) : low - room, high: high + room, log };
}

/** 1, 2 or 5 times a power of ten, not below what is asked. */
function roundUp(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * ([1, 2, 5].find((times) => times * power >= step * 0.999) ?? 10);
}

/** Round numbers on a scale, at most about so many. */
export function ticksOf(scale: Scale, most: number): number[] {
  const { low, high } = scale;
  const decades = scale.log ? Math.log10(high / low) : 0;
  if (decades >= 1) {
    const times = decades * 3 <= most ? [1, 2, 5] : decades * 2 <= most ? [1, 3] : [1];
    const every = Math.max(1, Math.ceil(decades / most));
    const out: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += every) {
      for (const one of times) out.push(Number((one * 10 ** power).toPrecision(12)));
    }
    return out.filter((value) => value >= low && value <= high);
  }
  const step = roundUp((high - low) / Math.max(1, most));
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** The index of the value nearest to one that is looked for, in a rising list. */
export function nearest(rising: readonly number[], value: number): number {
  let [low, high] = [0, rising.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((rising[middle] ?? 0) < value) low = middle;
    else high = middle;
  }
  return Math.abs((rising[low] ?? 0) - value) <= Math.abs((rising[high] ?? 0) - value) ? low : Math.max(0, high);
}
