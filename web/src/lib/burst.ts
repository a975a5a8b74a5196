// Asking for sparks at an element. The canvas answers; without it nothing happens.

export type Burst = (anchor: Element | null, count: number, colors: readonly string[], speed?: number) => void;
let burstAt: Burst = () => {};

/** Set by the one canvas; everybody else calls `burst`. */
export function provideSparks(give: Burst): void {
  burstAt = give;
}
export const burst: Burst = (anchor, count, colors, speed) => burstAt(anchor, count, colors, speed);
