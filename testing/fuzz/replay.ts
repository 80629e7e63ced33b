/** One input again: `node --conditions=@sotto/source testing/fuzz/replay.ts DECODER SEED`, or `… DECODER --hex HEX`. */
import { parseArgs } from "node:util";
import { attempt } from "./attempt.ts";
import { decoders } from "./decoders.ts";
import { inputOf } from "./mutations.ts";

const { values, positionals } = parseArgs({ options: { hex: { type: "string" } }, allowPositionals: true });
const [name, seed] = positionals;
const decoder = decoders.find((one) => one.name === name);
if (decoder === undefined || (seed === undefined) === (values.hex === undefined)) {
  console.error(`usage: replay.ts DECODER SEED | DECODER --hex HEX\n\n${decoders.map((one) => one.name).join("\n")}`);
  process.exit(2);
}
const input =
  values.hex === undefined ? inputOf(decoder, Number(seed)) : new Uint8Array(Buffer.from(values.hex, "hex"));
console.log(`${input.length} bytes: ${Buffer.from(input).toString("hex").slice(0, 4_000)}`);
const finding = await attempt(decoder, input);
console.log(finding ? `${finding.kind}: ${finding.what}` : "taken or refused as it should be");
process.exitCode = finding ? 1 : 0;
