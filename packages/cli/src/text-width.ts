/** How many columns a text takes on a terminal, near enough to know which rows it fills. */

const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u;
const emoji = /^(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f|\p{Regional_Indicator}{2})/u;
const markOnly = /^\p{M}+$/u;
// oxlint-disable-next-line no-control-regex -- our own styles, which take no column
const styles = /\x1b\[[0-9;]*m/g;
// oxlint-disable-next-line no-control-regex -- the fast path
const printableAscii = /^[\x20-\x7e]*$/;
const segmenter = new Intl.Segmenter();

export function textWidth(text: string): number {
  const plain = text.replace(styles, "");
  if (printableAscii.test(plain)) return plain.length;
  let columns = 0;
  for (const { segment } of segmenter.segment(plain)) {
    if (emoji.test(segment) || wide.test(segment)) columns += 2;
    else if (!markOnly.test(segment)) columns += 1;
  }
  return columns;
}

/** The rows that lines fill on a terminal of so many columns. */
export function rowsOf(lines: readonly string[], columns: number): number {
  return lines.reduce((rows, line) => rows + Math.max(1, Math.ceil(textWidth(line) / columns)), 0);
}

/**
 * The text in rows of at most so many columns, broken at spaces where there are any; the first row may have fewer. A row that began at
 * the edge of the terminal by itself could be made to look like anything, so whoever prints text of others breaks it first.
 */
export function wrapText(text: string, columns: number, firstColumns = columns): string[] {
  const rows: string[] = [];
  let row = "";
  let width = 0;
  /** Where the row may be broken: behind its last space. */
  let breakAt = 0;
  for (const { segment } of segmenter.segment(text)) {
    const segmentWidth = textWidth(segment);
    const columnsHere = Math.max(1, rows.length === 0 ? firstColumns : columns);
    if (width + segmentWidth > columnsHere && row !== "") {
      // A space at the very edge is the break itself.
      if (segment === " ") {
        rows.push(row);
        [row, width, breakAt] = ["", 0, 0];
        continue;
      }
      const cut = breakAt > 0 ? breakAt : row.length;
      rows.push(row.slice(0, cut).replace(/ +$/, ""));
      row = row.slice(cut);
      width = textWidth(row);
      breakAt = 0;
    }
    row += segment;
    width += segmentWidth;
    if (segment === " " && row.trim() !== "") breakAt = row.length;
  }
  return [...rows, row];
}
