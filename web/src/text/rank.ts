// Ranks of the hero by level (1,000 steps each).

export const RANKS = ['hood', 'bronze', 'silver', 'gold', 'horned', 'crowned'] as const;
export type Rank = (typeof RANKS)[number];
export const RANK_LEVELS: Record<Rank, number> = { hood: 0, bronze: 1, silver: 10, gold: 25, horned: 50, crowned: 100 };

export function rankOf(level: number | null): Rank {
  return RANKS.findLast((rank) => (level ?? 0) >= RANK_LEVELS[rank]) ?? 'hood';
}

export const rankIndex = (rank: Rank): number => RANKS.indexOf(rank);

/** The next rank and its level, null at the top. */
export function nextRank(level: number | null): { rank: Rank; level: number } | null {
  const next = RANKS.find((rank) => RANK_LEVELS[rank] > (level ?? 0));
  return next ? { rank: next, level: RANK_LEVELS[next] } : null;
}
