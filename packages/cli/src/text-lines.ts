/**
 * The text of a message in rows of a terminal: its Markdown as styles where there are any, else as it was written. What a link
 * leads to is always there to be read, and never hidden in an escape sequence, so that no text can name another address than the
 * one that opens.
 */
import { type Block, type Inline, parseMarkdown } from "@sotto/client";
import type { Output, Style } from "./output.ts";
import { printable, printableLines } from "./printable.ts";
import { textWidth, wrapText } from "./text-width.ts";

/** Text of one style in a line. */
interface Run {
  readonly text: string;
  readonly styles: readonly Style[];
}

/** A line with what stands before it, and before the rows that it goes on in. */
interface Line {
  readonly before: string;
  readonly beforeNext: string;
  readonly runs: readonly Run[];
}

/** @param columns that each row may have; the first one may have fewer */
export function textLines(text: string, output: Output, columns: number, firstColumns = columns): string[] {
  const lines = output.styled
    ? linesOfBlocks(parseMarkdown(text))
    : printableLines(text).map((line) => ({ before: "", beforeNext: "", runs: [{ text: line, styles: [] }] }));
  const rows = (lines.length === 0 ? [{ before: "", beforeNext: "", runs: [] }] : lines).flatMap((line, n) =>
    rowsOf(line, output, columns, n === 0 ? firstColumns : columns),
  );
  return rows;
}

function linesOfBlocks(blocks: readonly Block[]): Line[] {
  return blocks.flatMap((block, n) => {
    const lines = linesOfBlock(block);
    const isApart = n > 0 && block.kind === "paragraph" && blocks[n - 1]!.kind === "paragraph";
    return isApart ? [{ before: "", beforeNext: "", runs: [] }, ...lines] : lines;
  });
}

function linesOfBlock(block: Block): Line[] {
  switch (block.kind) {
    case "paragraph":
      return linesOfRuns(runsOf(block.content, []));
    case "code":
      return printableLines(block.text).map((text) => ({
        before: "  ",
        beforeNext: "  ",
        runs: [{ text, styles: ["cyan"] }],
      }));
    case "quote":
      return indented(linesOfBlocks(block.blocks), "│ ", "│ ");
    case "list":
      return block.items.flatMap((item, n) => {
        const mark = block.start === undefined ? "• " : `${block.start + n}. `;
        const lines = linesOfBlocks(item);
        return indented(lines.length === 0 ? linesOfRuns([]) : lines, mark, " ".repeat(textWidth(mark)));
      });
  }
}

function indented(lines: readonly Line[], first: string, next: string): Line[] {
  return lines.map(({ before, beforeNext, runs }, n) => ({
    before: (n === 0 ? first : next) + before,
    beforeNext: next + beforeNext,
    runs,
  }));
}

function runsOf(content: readonly Inline[], styles: readonly Style[]): (Run | "break")[] {
  return content.flatMap((one): (Run | "break")[] => {
    switch (one.kind) {
      case "text":
        return [{ text: printable(one.text), styles }];
      case "break":
        return ["break"];
      case "code":
        return [{ text: printable(one.text), styles: [...styles, "cyan"] }];
      case "bold":
      case "italic":
        return runsOf(one.content, [...styles, one.kind]);
      case "link": {
        const shown = runsOf(one.content, [...styles, "underline"]);
        const words = shown.map((run) => (run === "break" ? " " : run.text)).join("");
        const href = printable(one.href);
        return words === href ? shown : [...shown, { text: ` <${href}>`, styles }];
      }
    }
  });
}

function linesOfRuns(runs: readonly (Run | "break")[]): Line[] {
  const lines: Run[][] = [[]];
  for (const run of runs) {
    if (run === "break") lines.push([]);
    else lines.at(-1)!.push(run);
  }
  return lines.map((each) => ({ before: "", beforeNext: "", runs: each }));
}

/** Broken first and styled then: escape sequences take no columns, and no row ends in one. */
function rowsOf(line: Line, output: Output, columns: number, firstColumns: number): string[] {
  const plain = line.runs.map(({ text }) => text).join("");
  // Lists in lists must leave room for what is said.
  const fitting = (before: string) => before.slice(0, Math.max(0, Math.floor(Math.min(columns, firstColumns) / 2)));
  const [before, beforeNext] = [fitting(line.before), fitting(line.beforeNext)];
  const rows = wrapText(plain, columns - textWidth(beforeNext), firstColumns - textWidth(before));
  let from = 0;
  return rows.map((row, n) => {
    // Spaces at a break belong to no row.
    const start = plain.indexOf(row, from);
    from = start + row.length;
    return (n === 0 ? before : beforeNext) + styled(line.runs, start, from, output);
  });
}

function styled(runs: readonly Run[], from: number, to: number, output: Output): string {
  let at = 0;
  let text = "";
  for (const run of runs) {
    const part = run.text.slice(Math.max(0, from - at), Math.max(0, to - at));
    at += run.text.length;
    if (part !== "") text += run.styles.reduce((inner, style) => output.style(style, inner), part);
  }
  return text;
}
