// Text templates: "{name}" is a value, "[, {rows} rows]" is left out when one of its values is missing.

export type Params = Record<string, string | number | null | undefined>;

const missing = (value: unknown): boolean => value === null || value === undefined || value === '';

function put(template: string, params: Params): { text: string; whole: boolean } {
  let whole = true;
  const text = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name];
    if (missing(value)) whole = false;
    return missing(value) ? '' : String(value);
  });
  return { text, whole };
}

export function fill(template: string, params: Params = {}): string {
  const optional = template.replace(/\[([^\]]*)\]/g, (_, part: string) => {
    const { text, whole } = put(part, params);
    return whole ? text : '';
  });
  return put(optional, params).text.replace(/ {2,}/g, ' ').trim();
}
