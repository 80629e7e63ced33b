/**
 * A process that talks until it is killed: it sends one message after the other, reads what comes, and says what happened to each
 * as soon as the engine has said so. Every message that leaves is noted in a file first, as submission id and hash.
 *
 *     node talking-client.ts HOME PEER RUN SENT-FILE
 */
import { createHash } from "node:crypto";
import { openSync, writeSync } from "node:fs";
import { nodeTransport, openHome } from "@sotto/client/node";
import type { Transport } from "@sotto/client";
import { readSendMessage } from "@sotto/protocol";

const [home, peer, run, sentFile] = process.argv.slice(2) as [string, string, string, string];
const sent = openSync(sentFile, "a");

const noting: Transport = {
  async connect(address, handlers) {
    const socket = await nodeTransport.connect(address, handlers);
    return {
      ...socket,
      send(frame) {
        const request = readSendMessage(frame);
        if (request) {
          const { submission, message } = request.params;
          writeSync(sent, `${submission.toHex()} ${createHash("sha256").update(message).digest("hex")}\n`);
        }
        socket.send(frame);
      },
    };
  },
};

/** One line, gone before the next thing happens: a pipe takes it at once. */
function say(...words: string[]): void {
  writeSync(1, `${words.join(" ")}\n`);
}

const client = await openHome({ home, transport: noting });
client.subscribe((event) => {
  if (event.type === "message") say("shown", event.id, event.text);
  if (event.type === "security") say("security", event.code);
});
await client.sync({ timeoutMs: 10_000 });
say("ready");
for (let n = 0; ; n++) {
  const text = `${run}-${n}`;
  const { id } = await client.send({ to: peer, text });
  say("saved", text);
  const { state } = await client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
  if (state !== "sending" && state !== "failed") say("accepted", text);
  if (n % 3 === 0) await client.markRead({ ids: (await client.inbox({})).map((message) => message.id) });
}
