/** A message's text from standard input: UTF-8, whole, without the line break at its end. */
import type { Source } from "./environment.ts";
import { CommandError } from "./errors.ts";

/** Far more than a message may hold: the client refuses with the exact limit; this only bounds the memory. */
const inputBytesMax = 1024 * 1024;

/** @throws CommandError `text-not-utf8`, `text-too-large` */
export async function readText(stdin: Source): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const buffer = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    bytes += buffer.length;
    if (bytes > inputBytesMax) {
      throw new CommandError(
        "usage",
        "text-too-large",
        "reading the message from standard input: it is larger than 1 MiB",
        {
          hint: "save it as a file and send that with --attach",
        },
      );
    }
    chunks.push(buffer);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, "");
  } catch (error) {
    throw new CommandError("usage", "text-not-utf8", "reading the message from standard input: it is not UTF-8 text", {
      hint: "messages are text; convert it first, for example with iconv",
      cause: error,
    });
  }
}
