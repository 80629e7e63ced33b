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
