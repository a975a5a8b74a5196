// Draws a chart's lines on a canvas, in the colours of the theme that is in force.
import { int } from '../lib/format';
import { fieldOf, shareOf, ticksOf, type Field, type Scale } from './plot';

export interface Line {
  label: string;
  values: (number | null)[];
  color: string;
  width: number;
  dots?: boolean;
}
export interface Mark {
  x: number;
  color: string;
  label: string;
}
export interface Picture {
  x: readonly number[];
  lines: readonly Line[];
  marks: readonly Mark[];
  across: Scale;
  up: Scale;
  width: number;
  height: number;
}
type Pen = CanvasRenderingContext2D;
type Color = (token: string) => string;

const leftOf = (field: Field, scale: Scale, value: number) => field.left + field.width * shareOf(scale, value);
const topOf = (field: Field, scale: Scale, value: number) => field.top + field.height * (1 - shareOf(scale, value));

function grid(pen: Pen, { across, up }: Picture, field: Field, color: Color): void {
  const bottom = field.top + field.height;
  pen.font = '12px system-ui, sans-serif';
  pen.fillStyle = color('--muted');
  pen.strokeStyle = color('--chart-grid');
  pen.lineWidth = 1;
  pen.beginPath();
  pen.textAlign = 'center';
  pen.textBaseline = 'top';
  for (const value of ticksOf(across, Math.max(2, field.width / 80))) {
    const left = Math.round(leftOf(field, across, value)) + 0.5;
    pen.moveTo(left, field.top);
    pen.lineTo(left, bottom);
    const half = pen.measureText(int(value)).width / 2;
    pen.fillText(int(value), Math.min(left, field.left + field.width + 10 - half), bottom + 8);
  }
  pen.textAlign = 'right';
  pen.textBaseline = 'middle';
  for (const value of ticksOf(up, Math.max(2, field.height / 34))) {
    const top = Math.round(topOf(field, up, value)) + 0.5;
    pen.moveTo(field.left, top);
    pen.lineTo(field.left + field.width, top);
    pen.fillText(String(Number(value.toPrecision(3))), field.left - 8, top);
  }
  pen.stroke();
}

function marked(pen: Pen, { marks, across }: Picture, field: Field, color: Color): void {
  pen.setLineDash([4, 4]);
  for (const mark of marks) {
    if (mark.x < across.low || mark.x > across.high) continue;
    const left = leftOf(field, across, mark.x);
    pen.strokeStyle = color(mark.color);
    pen.beginPath();
    pen.moveTo(left, field.top);
    pen.lineTo(left, field.top + field.height);
    pen.stroke();
  }
  pen.setLineDash([]);
}

/** A line goes over gaps; what a logarithm does not have is left out. */
function drawn(pen: Pen, { x, across, up }: Picture, line: Line, field: Field, color: Color): void {
  const radius = line.values.length > 300 ? 2 : 3.5;
  pen.strokeStyle = pen.fillStyle = color(line.color);
  pen.lineWidth = line.width;
  pen.beginPath();
  line.values.forEach((value, i) => {
    if (value === null || (up.log && value <= 0)) return;
    const [left, top] = [leftOf(field, across, x[i] ?? 0), topOf(field, up, value)];
    if (line.dots) {
      pen.moveTo(left + radius, top);
      pen.arc(left, top, radius, 0, 7);
    } else pen.lineTo(left, top);
  });
  if (line.dots) pen.fill();
  else pen.stroke();
}

export function paint(canvas: HTMLCanvasElement, picture: Picture): void {
  const pen = canvas.getContext('2d');
  if (!pen) return;
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(picture.width * ratio), Math.round(picture.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const style = getComputedStyle(canvas);
  const color: Color = (token) => style.getPropertyValue(token).trim();
  const field = fieldOf(picture.width, picture.height);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, picture.width, picture.height);
  pen.lineJoin = 'round';
  grid(pen, picture, field, color);
  marked(pen, picture, field, color);
  for (const line of picture.lines) drawn(pen, picture, line, field, color);
}
