/**
 * The part of Markdown that messages know, as a small tree for whoever shows it: bold, italic, code, code blocks, links, lists and
 * quotes. There is no HTML in it, every text is a valid message, and what is not closed is what was typed. Links lead to
 * http, https and mailto and nowhere else.
 *
 * It takes time in proportion to the text, whatever the text is: nesting ends at a depth, and nothing is looked at again.
 */

export type Block =
  | { readonly kind: "paragraph"; readonly content: readonly Inline[] }
  | { readonly kind: "code"; readonly text: string; readonly language?: string }
  | { readonly kind: "quote"; readonly blocks: readonly Block[] }
  | {
      readonly kind: "list";
      readonly items: readonly (readonly Block[])[];
      /** Of a numbered one. */ readonly start?: number;
    };

export type Inline =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "break" }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "bold" | "italic"; readonly content: readonly Inline[] }
  | { readonly kind: "link"; readonly href: string; readonly content: readonly Inline[] };

const blockDepthMax = 8;
const openEmphasisMax = 8;
const hrefCharactersMax = 2_048;

export function parseMarkdown(text: string): Block[] {
  return blocksOf(text.split(/\r\n|\r|\n/), 0);
}

/** With one word for the language, without the spaces behind it; where more is said, it is what was typed. */
const fence = /^ {0,3}(`{3,}|~{3,}) *([\w+#.-]{0,32})$/;
const quoted = /^ {0,3}> ?/;
const item = /^( {0,3})([-*+•]|(\d{1,9})[.)])( {1,4})(?=\S)/;

function blocksOf(lines: readonly string[], depth: number): Block[] {
  const blocks: Block[] = [];
  let paragraph: string[] = [];
  const endParagraph = () => {
    if (paragraph.length > 0) blocks.push({ kind: "paragraph", content: inlinesOf(paragraph.join("\n")) });
    paragraph = [];
  };
  for (let at = 0; at < lines.length;) {
    const line = lines[at]!;
    const opened = fence.exec(line.trimEnd());
    if (opened) {
      endParagraph();
      const [, mark = "", language = ""] = opened;
      const end = endOfFence(lines, at + 1, mark);
      const code = { kind: "code" as const, text: lines.slice(at + 1, end).join("\n") };
      blocks.push(language === "" ? code : { ...code, language });
      at = end + 1;
    } else if (depth < blockDepthMax && quoted.test(line)) {
      endParagraph();
      const inside: string[] = [];
      for (; at < lines.length && quoted.test(lines[at]!); at++) inside.push(lines[at]!.replace(quoted, ""));
      blocks.push({ kind: "quote", blocks: blocksOf(inside, depth + 1) });
    } else if (depth < blockDepthMax && item.test(line)) {
      endParagraph();
      at = takeList(lines, at, depth, blocks);
    } else {
      if (line.trim() === "") endParagraph();
      else paragraph.push(line);
      at++;
    }
  }
  endParagraph();
  return blocks;
}

/** A fence that is not closed holds all that follows. */
function endOfFence(lines: readonly string[], from: number, mark: string): number {
  let at = from;
  while (at < lines.length) {
    const line = lines[at]!.trim();
    if (line.length >= mark.length && line === mark[0]!.repeat(line.length)) break;
    at++;
  }
  return at;
}

/** An item goes on in lines that are indented as far as its text. Resolves with the line after the list. */
function takeList(lines: readonly string[], from: number, depth: number, blocks: Block[]): number {
  const items: Block[][] = [];
  const first = item.exec(lines[from]!)!;
  const start = first[3] === undefined ? undefined : Number(first[3]);
  let at = from;
  while (at < lines.length) {
    const found = item.exec(lines[at]!);
    if (!found || (found[3] === undefined) !== (start === undefined)) break;
    const indent = found[0].length;
    const inside = [lines[at]!.slice(indent)];
    for (at++; at < lines.length; at++) {
      const line = lines[at]!;
      const indented = line.length - line.trimStart().length;
      // Two spaces are enough: nobody counts them on a telephone.
      if (line.trim() === "" ? !isIndented(lines[at + 1]) : indented < 2) break;
      inside.push(line.slice(Math.min(indented, indent)));
    }
    items.push(blocksOf(inside, depth + 1));
  }
  blocks.push({ kind: "list", items, ...(start === undefined ? {} : { start }) });
  return at;
}

function isIndented(line: string | undefined): boolean {
  return line !== undefined && line.startsWith("  ") && line.trim() !== "";
}

/** An emphasis, or the text of a link, that may still be closed. */
interface Open {
  readonly mark: string;
  /** Where what stands in it begins, in `found`. */
  readonly from: number;
}

const word = /[\p{L}\p{N}]/u;
const escapable = /[\\`*_{}[\]()#+\-.!>~|]/;
/** Ends at whatever could not stand in an address, so that it is read once. */
const linkEnd = /\]\(([^\s()<>[\]"'`\\]{1,2048})\)/y;
const bareLink = /(?:https?:\/\/|mailto:)[^\s<>"'`\\]+/iy;

function inlinesOf(text: string): Inline[] {
  return new InlineReader(text).read();
}

class InlineReader {
  readonly #text: string;
  /** Where the next run of so many backticks is looked for; a length that has none left is not looked for again. */
  readonly #codeMarks: Map<number, { places: number[]; next: number }>;
  #found: Inline[] = [];
  #plain = "";
  #open: Open[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#codeMarks = codeMarksIn(text);
  }

  read(): Inline[] {
    while (this.#at < this.#text.length) this.#step(this.#text[this.#at]!);
    this.#flush();
    while (this.#open.length > 0) this.#giveUp();
    return joined(this.#found);
  }

  #step(character: string): void {
    switch (character) {
      case "\\":
        return this.#escape();
      case "\n":
        this.#flush();
        this.#found.push({ kind: "break" });
        this.#at++;
        return;
      case "`":
        return this.#code();
      case "*":
      case "_":
        return this.#emphasis(character);
      case "[":
        this.#push("[");
        this.#at++;
        return;
      case "]":
        return this.#closeLink();
      case "h":
      case "H":
      case "m":
      case "M":
        return this.#bareLink(character);
      default:
        this.#plain += character;
        this.#at++;
    }
  }

  #escape(): void {
    const next = this.#text[this.#at + 1] ?? "";
    this.#plain += escapable.test(next) ? next : `\\${next === "\n" ? "" : next}`;
    this.#at += next === "\n" ? 1 : 2;
  }

  #code(): void {
    const length = runLength(this.#text, this.#at);
    // After a backslash a run is shorter than it was counted.
    const marks = this.#codeMarks.get(length) ?? { places: [], next: 0 };
    while ((marks.places[marks.next] ?? Infinity) <= this.#at) marks.next++;
    const end = marks.places[marks.next];
    if (end === undefined) {
      this.#plain += "`".repeat(length);
      this.#at += length;
      return;
    }
    const inside = this.#text.slice(this.#at + length, end).replaceAll("\n", " ");
    const isPadded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim() !== "";
    this.#flush();
    this.#found.push({ kind: "code", text: isPadded ? inside.slice(1, -1) : inside });
    this.#at = end + length;
  }

  /** One mark is italic, two are bold, three are both; marks inside a word, or between spaces, are what was typed. */
  #emphasis(character: string): void {
    const length = runLength(this.#text, this.#at);
    const before = this.#text.slice(Math.max(0, this.#at - 2), this.#at);
    const after = this.#text.slice(this.#at + length, this.#at + length + 2);
    this.#at += length;
    const opens = /^\S/u.test(after) && !/[\p{L}\p{N}]$/u.test(before);
    const closes = /\S$/u.test(before) && !/^[\p{L}\p{N}]/u.test(after);
    const marks = length === 3 ? [character.repeat(2), character] : [character.repeat(length)];
    if (length > 3 || (!opens && !closes)) this.#plain += character.repeat(length);
    else if (closes && this.#has(length === 3 ? character : marks[0]!)) {
      for (const mark of marks.toReversed()) if (!this.#close(mark)) this.#plain += mark;
    } else if (opens) for (const mark of marks) this.#push(mark);
    else this.#plain += character.repeat(length);
  }

  #has(mark: string): boolean {
    return this.#open.some((one) => one.mark === mark);
  }

  #push(mark: string): void {
    this.#flush();
    if (this.#open.length >= openEmphasisMax) {
      this.#plain += mark;
      return;
    }
    this.#open.push({ mark, from: this.#found.length });
  }

  /** Whether there was one to close. */
  #close(mark: string): boolean {
    if (!this.#has(mark)) return false;
    this.#flush();
    while (this.#open.at(-1)!.mark !== mark) this.#giveUp();
    const { from } = this.#open.pop()!;
    const content = joined(this.#found.splice(from));
    if (content.length === 0) this.#found.push({ kind: "text", text: mark + mark });
    else this.#found.push({ kind: mark.length === 2 ? "bold" : "italic", content });
    return true;
  }

  #closeLink(): void {
    linkEnd.lastIndex = this.#at;
    const end = this.#has("[") ? linkEnd.exec(this.#text) : null;
    const href = end && safeHref(end[1]!);
    if (!end || href === undefined) {
      // What it began is no link any more.
      if (this.#has("[")) this.#forget("[");
      this.#plain += "]";
      this.#at++;
      return;
    }
    this.#flush();
    while (this.#open.at(-1)!.mark !== "[") this.#giveUp();
    const { from } = this.#open.pop()!;
    const content = withoutLinks(joined(this.#found.splice(from)));
    this.#found.push({
      kind: "link",
      href: href!,
      content: content.length > 0 ? content : [{ kind: "text", text: href! }],
    });
    this.#at += end[0].length;
  }

  #bareLink(character: string): void {
    bareLink.lastIndex = this.#at;
    const isInWord = word.test(this.#text[this.#at - 1] ?? " ");
    const found = isInWord || this.#has("[") ? null : bareLink.exec(this.#text);
    const written = found && withoutTail(found[0]);
    const href = written ? safeHref(written) : undefined;
    if (!written || href === undefined) {
      const length = found ? found[0].length : 1;
      this.#plain += found ? found[0] : character;
      this.#at += length;
      return;
    }
    this.#flush();
    this.#found.push({ kind: "link", href, content: [{ kind: "text", text: written }] });
    this.#at += written.length;
  }

  #flush(): void {
    if (this.#plain !== "") this.#found.push({ kind: "text", text: this.#plain });
    this.#plain = "";
  }

  /** The innermost one that is open is what was typed. */
  #giveUp(): void {
    const { mark, from } = this.#open.pop()!;
    this.#found.splice(from, 0, { kind: "text", text: mark });
  }

  #forget(mark: string): void {
    this.#flush();
    const at = this.#open.findLastIndex((one) => one.mark === mark);
    const [forgotten] = this.#open.splice(at, 1);
    this.#found.splice(forgotten!.from, 0, { kind: "text", text: mark });
    this.#open = this.#open.map((one, n) => (n < at ? one : { ...one, from: one.from + 1 }));
  }
}

function runLength(text: string, at: number): number {
  let end = at + 1;
  while (text[end] === text[at]) end++;
  return end - at;
}

/** Where runs of backticks begin, by their length. */
function codeMarksIn(text: string): Map<number, { places: number[]; next: number }> {
  const marks = new Map<number, { places: number[]; next: number }>();
  for (const { 0: run, index } of text.matchAll(/`+/g)) {
    const known = marks.get(run.length);
    if (known) known.places.push(index);
    else marks.set(run.length, { places: [index], next: 0 });
  }
  return marks;
}

/** What ends a sentence does not belong to the address in it, nor a bracket that was opened before. */
function withoutTail(address: string): string {
  let end = address.length;
  let open = 0;
  for (const character of address) open += character === "(" ? 1 : character === ")" ? -1 : 0;
  for (; end > 0; end--) {
    const last = address[end - 1]!;
    if (last === ")" && open < 0) open++;
    else if (!/[.,:;!?*_~\]}]/.test(last)) break;
  }
  return address.slice(0, end);
}

function safeHref(address: string): string | undefined {
  const isKnown = /^(?:https?:\/\/[^\s/?#]|mailto:[^\s])/i.test(address);
  // Nothing that could make one address look like another.
  const isPlain = !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(address);
  return isKnown && isPlain && address.length <= hrefCharactersMax ? address : undefined;
}

/** A link in a link leads where the outer one does. */
function withoutLinks(content: readonly Inline[]): Inline[] {
  return content.flatMap((one) => (one.kind === "link" ? one.content : [one]));
}

/** Texts that stand side by side are one. */
function joined(content: readonly Inline[]): Inline[] {
  const all: Inline[] = [];
  for (let at = 0; at < content.length; at++) {
    const one = content[at]!;
    if (one.kind !== "text") {
      all.push(one);
      continue;
    }
    const texts = [one.text];
    for (let next = content[at + 1]; next?.kind === "text"; next = content[++at + 1]) texts.push(next.text);
    all.push({ kind: "text", text: texts.join("") });
  }
  return all;
}
