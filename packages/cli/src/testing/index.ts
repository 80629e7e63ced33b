/** What of the program reads what people typed or others wrote, for the fuzzing of all of it. */
export { KeyInput, toLine, toText } from "../app/key-input.ts";
export { readSetting } from "../commands/set.ts";
export { readDuration } from "../duration.ts";
export { CommandError } from "../errors.ts";
export { createOutput } from "../output.ts";
export { printable, printableJson, printableLines } from "../printable.ts";
export { textLines } from "../text-lines.ts";
export { textWidth, wrapText } from "../text-width.ts";
export { readWhen } from "../when.ts";
