/**
 * Text that someone else wrote, made safe to show on a terminal: no control character, escape sequence or bidirectional
 * override of theirs reaches it, and nothing invisible that could make one text look like another. What remains is what
 * a person can see, emoji sequences and the joiners of Arabic and Indic scripts included.
 * Whoever prints passes every text of another person, and every text from a server, through here.
 */

/** One line of it: line breaks and tabs become spaces. */
export function printable(text: string): string {
  return clean(text.replace(lineBreaks, " ").replaceAll("\t", " "));
}

/** All its lines; tabs become spaces. */
export function printableLines(text: string): string[] {
  return text.split(lineBreak).map((line) => clean(line.replaceAll("\t", "    ")));
}

/** The text of one JSON value: the same data for a parser, but nothing in it that a terminal would act on. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(
    unsafeInJson,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const lineBreak = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/;
const lineBreaks = /(?:\r\n|[\n\v\f\r\u0085\u2028\u2029])+/g;
// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const control = /[\u0000-\u001f\u007f-\u009f]/g;
const unsafeInJson = /[\u007f-\u009f\u200b\u2028\u2029\u2060\ufeff\ufff9-\ufffb]|\p{Bidi_Control}/gu;
const annotations = /[\ufff9-\ufffb]/g;
const invisible = /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}]+/gu;
/** Marks piled on one letter run over the lines above and below; no script needs more than these. */
const piledMarks = /(\p{M}{8})\p{M}+/gu;

const variationSelector = /^(?:[\ufe00-\ufe0f]|[\u180b-\u180d]|\u180f|[\u{e0100}-\u{e01ef}])$/u;
const flagTags = /^[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{1,7}\u{e007f}$/u;
const emojiJoiner = /^\ufe0f?\u200d$/u;
const joinableEmoji = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}]$/u;
const joiner = /^[\u200c\u200d]$/u;
const joinableLetter = /^(?!\p{ASCII})[\p{L}\p{M}]$/u;

function clean(text: string): string {
  return text
    .toWellFormed()
    .replace(control, pictureOf)
    .replace(annotations, "")
    .replace(invisible, (run: string, at: number, whole: string) => {
      const before = lastCharacter(whole.slice(Math.max(0, at - 2), at));
      const after = String.fromCodePoint(whole.codePointAt(at + run.length) ?? 0x20);
      return belongs(run, before, after) ? run : "";
    })
    .replace(piledMarks, "$1");
}

/** Visible stand-ins (Unicode's control pictures), so that an attack is seen and not silently swallowed. */
function pictureOf(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\ufffd";
}

/** Whether invisible characters are part of how their neighbours are written. */
function belongs(run: string, before: string, after: string): boolean {
  if (variationSelector.test(run)) return /\S/u.test(before);
  if (emojiJoiner.test(run) && joinableEmoji.test(before) && joinableEmoji.test(after)) return true;
  if (joiner.test(run)) return joinableLetter.test(before) && joinableLetter.test(after);
  return before === "\u{1f3f4}" && flagTags.test(run);
}

function lastCharacter(text: string): string {
  const characters = Array.from(text);
  return characters.at(-1) ?? "";
}
