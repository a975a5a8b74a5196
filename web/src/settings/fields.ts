// Settings as text in fields: how a value is written, read back, and what may be written.

export type Kind = 'integer' | 'number' | 'boolean' | 'choice' | 'text' | 'numbers';

export interface Shape {
  kind: Kind;
  nullable: boolean;
  choices: string[];
  minimum: number | null;
  maximum: number | null;
  above: number | null;
  below: number | null;
}

export interface Field extends Shape {
  name: string;
  section: string;
  value: unknown;
  default: unknown;
  has_default: boolean;
  changed: boolean;
  origin: string;
  locked: string | null;
  fixed: string | null;
  help: string;
  effect: string;
}

export interface Change {
  name: string;
  before: unknown;
  after: unknown;
  effect?: string;
}

export interface Lock {
  name: string;
  breaks: string;
}

export interface Verdict {
  valid: boolean;
  errors: Record<string, string>;
  diff: Change[];
  locked: Lock[];
}

export interface Version extends Verdict {
  id: string;
  replaced_at: string;
}

export const SECTIONS = ['hero', 'training', 'data', 'evaluation', 'storage', 'machine'] as const;

/** A value as it stands in a field; null is an empty field. */
export function written(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map(written).join(', ');
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

const number = (text: string): unknown => {
  const trimmed = text.trim();
  const found = Number(trimmed);
  return trimmed !== '' && Number.isFinite(found) ? found : text;
};

/** What a field's text means; what is no value of its kind stays text, so that the server says what is wrong with it. */
export function readBack(shape: Pick<Shape, 'kind' | 'nullable'>, text: string): unknown {
  if (text.trim() === '' && shape.nullable) return null;
  if (shape.kind === 'integer' || shape.kind === 'number') return number(text);
  if (shape.kind === 'numbers') return text.split(',').map(number);
  if (shape.kind === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  return text;
}

/** Which bounds a number has: keys of strings with their numbers. */
export function boundsOf(shape: Shape): [string, number][] {
  const found: [string, number | null][] = [
    ['config.from', shape.minimum], ['config.above', shape.above], ['config.to', shape.maximum], ['config.below', shape.below],
  ];
  return found.filter((one): one is [string, number] => one[1] !== null);
}

/** "preset tiny" and the like, as the key of a string and what goes into it. */
export function originOf(origin: string): [string, string] {
  if (origin.startsWith('preset ')) return ['config.origin.preset', origin.slice(7)];
  return [{ default: 'config.origin.default', environment: 'config.origin.environment' }[origin] ?? 'config.origin.file', ''];
}

/** Text with code words between backticks, in pieces. */
export function marked(text: string): { code: boolean; text: string }[] {
  return text.split('`').map((piece, i) => ({ code: i % 2 === 1, text: piece })).filter((piece) => piece.text !== '');
}
