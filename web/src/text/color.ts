// Colours that come from data (skills) made readable: contrast by WCAG 2.2, relative luminance of sRGB.

type Rgb = [number, number, number];

export function parseHex(text: string | null): Rgb | null {
  const match = /^#([0-9a-f]{6})$/i.exec(text ?? '');
  if (!match?.[1]) return null;
  const value = Number.parseInt(match[1], 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

/** The colour, mixed with white or black until it has the wanted contrast on the background. */
export function readable(color: string | null, background: string, wanted = 4.5): string {
  const ground = parseHex(background) ?? [20, 16, 28];
  const start = parseHex(color) ?? [185, 162, 255];
  const goal: Rgb = luminance(ground) < 0.2 ? [255, 255, 255] : [0, 0, 0];
  for (let mix = 0; mix <= 1; mix += 0.05) {
    const rgb = start.map((c, i) => Math.round(c + ((goal[i] ?? 0) - c) * mix)) as Rgb;
    if (contrast(rgb, ground) >= wanted) return `rgb(${rgb.join(' ')})`;
  }
  return `rgb(${goal.join(' ')})`;
}
