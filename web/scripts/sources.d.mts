export const WEB: string;
export const OUT: string;
export function sourceFiles(): string[];
export function buildId(): string;
