/**
 * Text as it is searched: folded, so that what looks or sounds alike is alike (Unicode NFKC, case, diacritics, white space), and
 * the terms that are looked for in it. A folded text holds no line break and no control character, whatever its author wrote.
 * Words begin at word boundaries; scripts that are written without spaces match anywhere, so no dictionary is needed for them.
 */

/** What a message must contain. `prefix`: the word goes on, because it is still being typed. */
export interface Term {
  /** Folded; several words of a phrase are divided by one space. */
  readonly text: string;
  readonly prefix: boolean;
}

/** Marks that readers leave out when they type: accents, points of Hebrew and Arabic, variation selectors. Vowels of Indic and
 * Thai script and the voicing of kana are letters to their readers, and stay. */
const unwrittenMarks =
  // oxlint-disable-next-line no-misleading-character-class -- the lookahead says that marks are meant
  /(?=\p{Mn})[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u064b-\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe2f]/gu;
/** A letter with its marks; single letters of Hangul, which belong together. Nothing composes beyond these borders. */
const clusters = /[\u1100-\u11ff]+|\P{M}\p{M}*|\p{M}+/gsu;
const invisible = /\p{Cf}/gu;
const blank = /[\s\p{Cc}]/gu;
const loneSurrogate = /\p{Cs}/gu;
const plainAscii = /^[\t\n\r -~]*$/;

/** Most clusters are single letters, again and again. */
const foldedByCluster = new Map<string, string>();
const clustersRememberedMax = 4_096;
const clusterRememberedCharsMax = 8;

function foldCluster(cluster: string): string {
  const known = foldedByCluster.get(cluster);
  if (known !== undefined) return known;
  const folded = cluster
    .normalize("NFKD")
    .replace(unwrittenMarks, "")
    .normalize("NFC")
    // Twice, so that ß is ss and ς is σ.
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    // The upper case of some letters has marks of its own.
    .normalize("NFKD")
    .replace(unwrittenMarks, "")
    .normalize("NFC")
    .replace(invisible, "")
    .replace(blank, " ")
    .replace(loneSurrogate, "\ufffd");
  if (cluster.length <= clusterRememberedCharsMax && foldedByCluster.size < clustersRememberedMax)
    foldedByCluster.set(cluster, folded);
  return folded;
}

/** The text as it is searched. */
export function fold(text: string): string {
  if (plainAscii.test(text)) return text.replace(/\s+/g, " ").toLowerCase();
  const parts: string[] = [];
  eachFolded(text, (part) => parts.push(part));
  return parts.join("");
}

/** Calls `take` with what every cluster becomes, where it begins and how long it is; of several spaces one is left. */
function eachFolded(text: string, take: (part: string, at: number, length: number) => void): void {
  let isAfterSpace = false;
  for (const { 0: cluster, index } of text.matchAll(clusters)) {
    const folded = foldCluster(cluster);
    const part: string = isAfterSpace && folded.startsWith(" ") ? folded.slice(1) : folded;
    if (part === "") continue;
    isAfterSpace = part.endsWith(" ");
    take(part, index, cluster.length);
  }
}

/** Where `terms` stand in a text as its author wrote it: ranges `[from, to)` in UTF-16 units, in order, apart. */
export function rangesOf(text: string, terms: readonly Term[]): [number, number][] {
  const parts: string[] = [];
  const from: number[] = [];
  const to: number[] = [];
  eachFolded(text, (part, at, length) => {
    parts.push(part);
    for (let unit = 0; unit < part.length; unit++) {
      from.push(at);
      to.push(at + length);
    }
  });
  const folded = parts.join("");
  const found: [number, number][] = [];
  for (const term of terms) {
    for (let at = find(folded, term, 0); at !== -1; at = find(folded, term, at + term.text.length))
      found.push([from[at]!, to[at + term.text.length - 1]!]);
  }
  found.sort((a, b) => a[0] - b[0]);
  const apart: [number, number][] = [];
  for (const range of found) {
    const last = apart.at(-1);
    if (last && range[0] <= last[1]) last[1] = Math.max(last[1], range[1]);
    else apart.push(range);
  }
  return apart;
}

/** The next place from `start` on where a term stands in a folded text, or -1. */
export function find(folded: string, term: Term, start: number): number {
  for (let at = folded.indexOf(term.text, start); at !== -1; at = folded.indexOf(term.text, at + 1)) {
    const end = at + term.text.length;
    const begins = isBorder(codePointBefore(folded, at), folded.codePointAt(at));
    if (begins && (term.prefix || isBorder(codePointBefore(folded, end), folded.codePointAt(end)))) return at;
  }
  return -1;
}

/** Whether a word can end after one character and another begin with the next. */
function isBorder(before: number | undefined, after: number | undefined): boolean {
  return before === undefined || after === undefined || kindOf(before) !== "letter" || kindOf(after) !== "letter";
}

function codePointBefore(text: string, at: number): number | undefined {
  if (at === 0) return undefined;
  const unit = text.charCodeAt(at - 1);
  return unit >= 0xdc00 && unit <= 0xdfff && at > 1 ? text.codePointAt(at - 2) : unit;
}

/** `letter`: joins its neighbours to a word. `other`: stands alone, also where a script has no spaces between words. */
function kindOf(codePoint: number): "letter" | "other" {
  if (codePoint < 0x80) {
    const isLetter =
      (codePoint >= 0x61 && codePoint <= 0x7a) || (codePoint >= 0x30 && codePoint <= 0x39) || codePoint === 0x5f;
    return isLetter ? "letter" : "other";
  }
  const character = String.fromCodePoint(codePoint);
  return letter.test(character) && !unspaced.test(character) ? "letter" : "other";
}

const letter = /[\p{L}\p{N}\p{M}]/u;
/** Korean has spaces, but its particles follow the word without one. */
const unspaced =
  /[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{sc=Bopomofo}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}\p{sc=Hangul}]/u;

/** A word or phrase as it was typed, without the punctuation around it; undefined if nothing is left to look for. */
export function termOf(typed: string, prefix: boolean): Term | undefined {
  const folded = fold(typed).trim();
  const inner = folded.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}\p{M}]+$/gu, "");
  // What is all punctuation, or a picture, was meant as it is.
  const text = inner === "" ? folded : inner;
  return text === "" ? undefined : { text, prefix };
}
