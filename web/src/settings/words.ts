// A value of a setting as people read it.
import { t } from '../i18n';
import { written } from './fields';

export function valueWords(value: unknown): string {
  if (typeof value === 'boolean') return t(value ? 'word.yes' : 'word.no');
  return written(value) || t('config.none');
}
