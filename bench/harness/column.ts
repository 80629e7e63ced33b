/** What one number of a figure is called, what is asked of it, and how both are printed. */
export type Asked = { atLeast: number } | { atMost: number } | { below: number };

export interface Column {
  readonly key: string;
  readonly label: string;
  /** Of Sotto, on one core of the machine that the targets were set for. */
  readonly asked?: Asked;
}

export function isMet(asked: Asked, seen: number): boolean {
  if ("atLeast" in asked) return seen >= asked.atLeast;
  return "atMost" in asked ? seen <= asked.atMost : seen < asked.below;
}

export function askedText(asked: Asked | undefined): string {
  if (asked === undefined) return "";
  const [sign, value] =
    "atLeast" in asked ? ["≥", asked.atLeast] : "atMost" in asked ? ["≤", asked.atMost] : ["<", asked.below];
  return `${sign} ${short(value)}`;
}

/** Three digits that count, or all before the point. */
export const short = (value: number): string => {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
};
