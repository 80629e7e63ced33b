/** What a benchmark of the client found, with what is asked beside it: printed, and put into the results. */
import { type Asked, askedText, isMet, short } from "./column.ts";
import { record } from "./results.ts";

export interface FigureList {
  add(what: string, value: number, unit: string, asked?: Asked): void;
  /** @param title of its table on the page */
  print(title: string): void;
}

/** @param program its place in the results */
export function createFigureList(program: string): FigureList {
  const rows: string[][] = [["", "asked", "seen"]];
  return {
    add(what, value, unit, asked) {
      const missed = asked !== undefined && !isMet(asked, value) ? ", missed" : "";
      rows.push([what, asked === undefined ? "" : `${askedText(asked)} ${unit}`, `${short(value)} ${unit}${missed}`]);
    },
    print: (title) => printTable(program, title, rows),
  };
}

export function printTable(program: string, title: string, table: readonly (readonly string[])[]): void {
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  console.log(`${title}\n`);
  for (const row of table)
    console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "));
  record((results) => {
    results.client[program] = { title, table };
  });
}
