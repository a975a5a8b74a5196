// Where a notice covers no control and no number: the free place nearest to the usual corner; pure but for what it is given.

export interface Rect {
  left: number;
  top: number;
  right: number;
  bottom: number;
}
export interface Spot {
  left: number;
  top: number;
  /** How many controls and numbers lie under it: 0 where a free place was found. */
  covers: number;
}

const GAP = 12;
const STEP = 20;
/** A picture may be covered, but rather not: as if the place were so many pixels further away. */
const PICTURE = 600;
const meets = (a: Rect, b: Rect): boolean => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Places to look at, nearest to the lower right corner first. */
function* places(size: { width: number; height: number }, window: Rect): Generator<Rect & { far: number }> {
  const [low, far] = [window.bottom - size.height - GAP, Math.max(GAP, window.right - size.width - GAP)];
  for (let top = low; top >= window.top + GAP / 2; top -= STEP) {
    for (let left = far; left >= GAP; left -= STEP) {
      yield { left, top, right: left + size.width, bottom: top + size.height, far: Math.hypot(far - left, low - top) };
    }
  }
}

/** The free place nearest to the lower right corner; where nothing is free, the one that covers fewest. */
export function freePlace(size: { width: number; height: number }, window: Rect, taken: readonly Rect[], pictures: readonly Rect[] = []): Spot {
  let best: (Spot & { far: number }) | null = null;
  for (const place of places(size, window)) {
    if (best?.covers === 0 && place.far >= best.far) continue;
    const covers = taken.reduce((count, one) => count + Number(meets(one, place)), 0);
    if (best && covers > best.covers) continue;
    const far = place.far + (pictures.some((one) => meets(one, place)) ? PICTURE : 0);
    if (!best || covers < best.covers || far < best.far) best = { left: place.left, top: place.top, covers, far };
  }
  const { left, top, covers } = best ?? { left: GAP, top: Math.max(0, window.bottom - size.height - GAP), covers: taken.length };
  return { left, top, covers };
}

const TAKEN = 'a[href], button, input, select, textarea, summary, [tabindex="0"]:not(.surface, .scroll), [data-stat], .num, time, [role=progressbar], h1, h2'
  .split(', ').map((one) => `main ${one}`).join(', ');

/** Moves the notices to where they cover no control and no number of the page; says whether there is such a place. */
export function place(notices: HTMLElement): boolean {
  if (notices.matches(':hover, :focus-within')) return true;
  const { clientWidth: right, clientHeight: bottom } = document.documentElement;
  const head = document.querySelector('header')?.getBoundingClientRect().bottom ?? 0;
  const seen = (box: Rect) => box.bottom > head && box.top < bottom && box.right > box.left;
  const boxes = (what: string) => [...document.querySelectorAll(what)].map((one) => one.getBoundingClientRect()).filter(seen);
  const window = { left: 0, top: Math.max(0, head), right, bottom };
  const spot = freePlace(notices.getBoundingClientRect(), window, boxes(TAKEN), boxes('main canvas, main p, main td, main dt, main figcaption, main .text'));
  notices.style.inset = `${spot.top}px auto auto ${spot.left}px`;
  return spot.covers === 0;
}
