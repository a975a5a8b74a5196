import { describe, expect, it } from 'vitest';
import * as format from '../src/lib/format';

describe('numbers', () => {
  it.each([
    [1.6103, '1.61'], [12.34, '12.3'], [123.4, '123'], [999, '999'], [5_000, '999'], [0.5, '0.50'],
  ])('stat %d', (value, text) => expect(format.stat(value)).toBe(text));

  it.each([[0.6213, '0.621'], [1.42, '1.420'], [12.3456, '12.35'], [-0.004, '-0.00400'], [0.00435, '0.00435'], [0.0733, '0.0733'], [0.09996, '0.1000'], [3e-6, '3.0e-6'], [0, '0.000']])('loss %d', (value, text) =>
    expect(format.loss(value)).toBe(text));

  it('signs a change', () => {
    expect(format.change(0.25)).toBe('+0.250');
    expect(format.change(-0.25)).toBe('-0.250');
    expect(format.change(0)).toBe('0.000');
    expect(format.change(0.00403)).toBe('+0.004');
    expect(format.change(-0.00002)).toBe('-2e-5');
  });

  it.each([[3.1e-4, '3.1e-4'], [0, '0'], [0.25, '0.25']])('rate %d', (value, text) => expect(format.rate(value)).toBe(text));

  it.each([[0, '0 B'], [999, '999 B'], [1_000, '1.0 kB'], [205_000, '205 kB'], [14.2e9, '14.2 GB'], [999_960, '1.0 MB']])(
    'bytes %d', (value, text) => expect(format.bytes(value)).toBe(text));

  it('keeps shares and percents apart', () => {
    expect(format.share(0.84)).toBe('84 %');
    expect(format.percent(84)).toBe('84 %');
  });
});

describe('times', () => {
  it.each([
    [0, '0 s'], [59.4, '59 s'], [59.6, '1 min'], [537, '8 min 57 s'], [22_320, '6 h 12 min'], [7_200, '2 h'],
    [90_000, '1 d 1 h'], [-3, '0 s'],
  ])('duration %d', (seconds, text) => expect(format.duration(seconds)).toBe(text));

  it.each([[0.41, '0.4 s'], [45, '45 s'], [600, '10 min'], [7_200, '2 h'], [259_200, '3 d']])('age %d', (seconds, text) =>
    expect(format.age(seconds)).toBe(text));

  it('shows the day only when it is another one', () => {
    const now = new Date('2026-11-22T12:00:00');
    expect(format.time('2026-11-22T11:58:02', now)).toBe('11:58:02');
    expect(format.time('2026-11-20T11:58:02', now)).toContain('20 Nov');
    expect(format.time('never', now)).toBe('never');
  });
});

describe('show', () => {
  it('has no text for what is missing or not a number', () => {
    expect(format.show(null, 'int')).toBeNull();
    expect(format.show(undefined, 'int')).toBeNull();
    expect(format.show(Number.NaN, 'loss')).toBeNull();
  });
  it('keeps zero and text', () => {
    expect(format.show(0, 'int')).toBe('0');
    expect(format.show('sy', 'upper')).toBe('SY');
    expect(format.show('val_loss', 'text')).toBe('val_loss');
  });
});
