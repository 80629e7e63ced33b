/** What a server reads beside frames (headers, settings, addresses), and what a terminal's program reads and shows. */
import {
  CommandError,
  KeyInput,
  printable,
  printableJson,
  printableLines,
  readDuration,
  readSetting,
  readWhen,
  textLines,
  textWidth,
  toLine,
  toText,
} from "@sotto/cli/testing";
import { joinBytes, limits } from "@sotto/protocol";
import { readConfig, ServerError } from "@sotto/server";
import { countOf, digestOf, frameReader, rangeOf, readAddress } from "@sotto/server/testing";
import { Broken, bytesDecoder, type Decoder, textDecoder } from "./decoder.ts";

const headerUnitsMax = 16 * 1024;
/** What a person types or a shell hands over. */
const typedUnitsMax = 64 * 1024;

/** WebSocket frames under the mask 1, 2, 3, 4 (RFC 6455 §5.2): first byte, payload. */
function masked(first: number, length: number): Uint8Array {
  const head = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
  const payload = Uint8Array.from({ length }, (_, at) => 7 ^ ((at % 4) + 1));
  return joinBytes(Uint8Array.of(first, ...head, 1, 2, 3, 4), payload);
}

const serverDecoders: Decoder[] = [
  bytesDecoder({
    name: "stream of WebSocket frames",
    covers: ["readFrames"],
    structure: "bytes",
    bytesMax: 64 * 1024,
    samples: [
      joinBytes(masked(0x82, 5), masked(0x82, 300), masked(0x89, 4)),
      joinBytes(masked(0x02, 20), masked(0x80, 7), masked(0x82, 9)),
      joinBytes(masked(0x82, 0), masked(0x88, 2)),
    ],
    decode(input) {
      let told = 0;
      const owner = {
        isOpen: true,
        arrived() {},
        receivedFrame(frame: Uint8Array) {
          told += frame.length;
          if (frame.length > limits.frameBytesMax) throw new Broken(`a frame of ${frame.length} bytes`);
        },
      };
      const take = frameReader(owner, (bytes) => (told += bytes.length));
      // Cut as a network may cut it, and of its own memory: masks are taken off in place.
      const bytes = Buffer.from(input);
      const cut = 1 + (input[0] ?? 0);
      for (let at = 0; at < bytes.length; at += cut) take(bytes.subarray(at, at + cut));
      if (told > input.length) throw new Broken(`${told} bytes out of ${input.length}`);
    },
  }),
  textDecoder({
    name: "headers of a request for a blob",
    covers: ["rangeOf", "countOf", "digestOf"],
    bytesMax: 2 * headerUnitsMax,
    samples: ["bytes=0-499", "bytes=-500", "bytes=9500-", "1048576", `sha-256=:${"A".repeat(43)}=:`],
    decode(header) {
      for (const size of [1, 500, limits.blobBytesMax]) {
        const range = rangeOf(header, size);
        if (range === undefined || range === "unsatisfiable") continue;
        const { start, end } = range;
        if (!(start >= 0 && start <= end && end < size)) throw new Broken(`from ${start} to ${end} of ${size}`);
      }
      const count = countOf(header);
      if (count !== undefined && !Number.isSafeInteger(count)) throw new Broken(`a count of ${count}`);
      if ((digestOf(header)?.length ?? 32) !== 32) throw new Broken("a digest of another length");
    },
  }),
  textDecoder({
    name: "address of a peer",
    covers: ["readAddress"],
    bytesMax: 256,
    samples: ["127.0.0.1", "::ffff:10.1.2.3", "fe80::1%eth0", "2001:db8:0:1::5"],
    decode: readAddress,
  }),
  textDecoder({
    name: "settings of the server",
    covers: ["readConfig"],
    bytesMax: 2 * 1024,
    samples: [
      '{"data":"d","port":"12345","hosts":["chat.example.org","::1"],"registration":"open"}',
      '{"data":"d","localRegistration":"on","origins":["https://example.org"],"rateFactor":"2","log":"json"}',
      '{"data":"d","certFile":"c","keyFile":"k","metricsToken":"0123456789abcdef","listen":"::","strangers":"allow"}',
    ],
    decode(text) {
      const input: unknown = JSON.parse(text);
      if (typeof input !== "object" || input === null) return;
      readConfig(input as Record<string, unknown>);
    },
    errors: [ServerError, SyntaxError],
  }),
];

/** All that may reach a terminal besides what can be seen. */
// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const forbidden = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]|\p{Bidi_Control}|\p{Surrogate}/u;
// oxlint-disable-next-line no-control-regex -- our own styles
const styles = /\u001b\[\d{1,2}m/g;

function harmless(text: string): void {
  const found = forbidden.exec(text);
  if (found) throw new Broken(`U+${found[0].codePointAt(0)!.toString(16)} reaches the terminal`);
}

const output = (styled: boolean): Parameters<typeof textLines>[1] => ({
  json: false,
  styled,
  columns: () => 60,
  row: () => Promise.resolve(),
  jsonRow: () => Promise.resolve(),
  note() {},
  style: (_, text) => (styled ? `\u001b[1m${text}\u001b[0m` : text),
});
const [styled, plain] = [output(true), output(false)];

const shown = [
  "hello \u001b[31mred\u001b[0m \u202eevil",
  "👩‍👩‍👧 नमस्ते العربية \u0301\u0301\u0301",
  "**bold** https://example.org\n- one\n- two",
];

const cliDecoders: Decoder[] = [
  textDecoder({
    name: "text for a terminal",
    bytesMax: 2 * limits.textBytesMax,
    samples: shown,
    decode(text) {
      harmless(printable(text));
      harmless(printableLines(text).join("\n"));
      harmless(printableJson({ text, [text.slice(0, 20)]: [text.slice(0, 20)] }));
    },
  }),
  textDecoder({
    name: "message in rows of a terminal",
    // The segments of a text are Unicode's, and V8 takes its time for them: some milliseconds a kilobyte.
    bytesMax: 2 * limits.textBytesMax,
    workMsMax: 1_000,
    inputsPerRound: 4,
    samples: shown,
    decode(text) {
      for (const [form, columns] of [
        [styled, 40],
        [plain, 15],
      ] as const) {
        for (const row of textLines(text, form, columns)) {
          harmless(row.replace(styles, ""));
          if (textWidth(row) > columns + 1) throw new Broken(`a row of ${textWidth(row)} columns in ${columns}`);
        }
      }
    },
  }),
  bytesDecoder({
    name: "keys of a terminal",
    covers: ["KeyInput"],
    structure: "bytes",
    samples: ["hello\r", "\u001b[200~two\r\nlines\u001b[201~\r", "\u001b\r\u0003é👋\u001b[A"].map((keys) =>
      new TextEncoder().encode(keys),
    ),
    decode(input) {
      const keys = new KeyInput({ isTTY: true, setRawMode() {} } as never);
      const half = Math.floor(input.length / 2);
      keys.on("data", () => {});
      keys.write(Buffer.from(input.subarray(0, half)));
      keys.wantLine();
      keys.write(Buffer.from(input.subarray(half)));
      keys.takeWaiting();
      keys.destroy();
    },
  }),
  textDecoder({
    name: "typed line",
    bytesMax: 2 * typedUnitsMax,
    samples: ["two\nlines", "a\tb\r\nc", "␤"],
    decode: (text) => toText(toLine(text)),
  }),
  textDecoder({
    name: "durations and times",
    covers: ["readDuration", "readWhen"],
    bytesMax: 2 * typedUnitsMax,
    samples: ["30m", "12 h", "in 2h", "tomorrow 9:00", "18:30", "2026-01-31T18:30:00.5+02:00"],
    decode(text) {
      for (const ms of [readDuration(text), readWhen(text, 1_790_000_000_000)])
        if (ms !== undefined && !Number.isSafeInteger(ms)) throw new Broken(`${ms} milliseconds`);
    },
  }),
  textDecoder({
    name: "setting of a person",
    covers: ["readSetting"],
    bytesMax: 2 * 1024,
    samples: ["receipts on", "presence off", "history yes"],
    decode(text) {
      const [key = "", value] = text.split(" ");
      readSetting(key, value);
    },
    errors: [CommandError],
  }),
];

export const serverAndCliDecoders: readonly Decoder[] = [...serverDecoders, ...cliDecoders];
