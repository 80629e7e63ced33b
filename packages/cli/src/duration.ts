/** How long, as people write it on a command line: a whole number and a unit, `30m`, `12h`, `1d`. */

const unitMsByLetter: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 60 * 60_000,
  d: 24 * 60 * 60_000,
  w: 7 * 24 * 60 * 60_000,
};

/** Milliseconds; undefined for anything else. */
export function readDuration(text: string): number | undefined {
  const [, amount, letter] = /^(\d{1,9})\s*([smhdw])$/i.exec(text.trim()) ?? [];
  const unitMs = unitMsByLetter[letter?.toLowerCase() ?? ""];
  if (amount === undefined || unitMs === undefined || Number(amount) === 0) return undefined;
  return Number(amount) * unitMs;
}

/** The same the other way, in the largest unit that says it whole. */
export function durationText(durationMs: number): string {
  const [letter, unitMs] = Object.entries(unitMsByLetter).findLast(([, each]) => durationMs % each === 0) ?? [
    "s",
    1_000,
  ];
  return `${Math.round(durationMs / unitMs)}${letter}`;
}
