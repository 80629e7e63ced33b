/**
 * How a message that was found looks to people: one line with time, conversation, author and the text around the first match, the
 * matches set off. What others wrote passes `printable` piece by piece.
 */
import type { SearchResult } from "@sotto/client";
import type { Output } from "./output.ts";
import { printable } from "./printable.ts";
import { textWidth } from "./text-width.ts";
import { shortTime } from "./times.ts";

/** How much of the text is shown where output is no terminal, in columns. */
const textColumnsDefault = 160;
const textColumnsMin = 24;
/** What the names of files may take of it. */
const fileColumnsMax = 40;
const shownIdDigits = 8;
const segmenter = new Intl.Segmenter();

export function foundLine(
  message: SearchResult,
  options: { title: string; output: Output; nowMs: number; ids?: boolean },
): string {
  const { title, output, nowMs, ids = true } = options;
  const author = message.state === "received" ? printable(message.from) : "you";
  const where = printable(title);
  const names = where === author ? `${author}:` : `${where}, ${author}:`;
  const time = shortTime(message.at, nowMs);
  const id = ids ? `  [${printable(message.id.slice(0, shownIdDigits))}]` : "";
  const columns = output.columns();
  const files = (message.attachments ?? []).map(({ name }) => printable(name)).join(", ");
  const shownFiles = files === "" ? "" : ` (${firstColumns(files, fileColumnsMax)})`;
  const rest = textWidth(`${time}  ${names} ${shownFiles}${id}`);
  const room = columns === undefined ? textColumnsDefault : Math.max(textColumnsMin, columns - rest);
  const text = around(message, room)
    .map(({ part, isMatch }) => (isMatch ? output.style("yellow", part) : part))
    .join("");
  return `${output.style("dim", time)}  ${output.style("bold", names)} ${text}${output.style("dim", `${shownFiles}${id}`)}`;
}

interface Piece {
  part: string;
  isMatch: boolean;
}

/** The text from a little before the first match on, in pieces, in so many columns; `…` where something is left out. */
function around({ text, ranges }: SearchResult, columns: number): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const [from, to] of ranges) {
    pieces.push({ part: text.slice(at, from), isMatch: false }, { part: text.slice(from, to), isMatch: true });
    at = to;
  }
  pieces.push({ part: text.slice(at), isMatch: false });
  const shown = pieces.map(({ part, isMatch }) => ({ part: printable(part), isMatch }));
  if (textWidth(shown.map(({ part }) => part).join("")) <= columns) return shown;
  const first = shown[0]!;
  const before = first.isMatch ? first.part : lastColumns(first.part, Math.floor(columns / 3));
  const cut = [{ part: before, isMatch: first.isMatch }, ...shown.slice(1)];
  const kept: Piece[] = [];
  // For the ellipsis at the end.
  let room = columns - 1;
  for (const { part, isMatch } of cut) {
    const fitting = firstColumns(part, room);
    room -= textWidth(fitting);
    if (fitting !== "") kept.push({ part: fitting, isMatch });
    if (fitting !== part) return [...kept, { part: "…", isMatch: false }];
  }
  return kept;
}

function firstColumns(text: string, columns: number): string {
  let width = 0;
  for (const { segment, index } of segmenter.segment(text)) {
    width += textWidth(segment);
    if (width > columns) return text.slice(0, index);
  }
  return text;
}

function lastColumns(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  const segments = Array.from(segmenter.segment(text), ({ segment }) => segment);
  let [from, width] = [segments.length, 1];
  while (from > 0 && width + textWidth(segments[from - 1]!) <= columns) width += textWidth(segments[--from]!);
  return `…${segments.slice(from).join("")}`;
}
