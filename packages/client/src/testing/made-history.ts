/** A store with an account and a long past, without a server: for figures that a past of that size decides. */
import { encodeContent } from "@sotto/e2ee";
import { type MessageRow, encodeRecord, keys, placeOf } from "../records.ts";
import type { ServerPin } from "../server-pin.ts";
import type { Storage } from "../storage/storage.ts";
import { makeAccount, makeConversation, makeState } from "./made-account.ts";

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };
/** As many as a client takes in at once. */
const batchRows = 256;

/**
 * Fills an empty store, the same way as messages that arrive: in turns from all conversations, a minute apart.
 * @param options.server where nobody answers
 */
export async function makeHistory(
  storage: Storage,
  options: { conversations: number; messages: number; server: string; text: (n: number) => string },
): Promise<void> {
  const own = makeAccount("alice");
  const made = await makeState(own, storage);
  const [host = "", port = ""] = options.server.split(":");
  const pin: ServerPin = {
    host,
    port: Number(port),
    mode: "key",
    tlsKey: new Uint8Array(32),
    deployment: new Uint8Array(32),
  };
  await made.state.transact((transaction) => transaction.put(keys.server, encodeRecord(pin)));
  const peers: { id: string; account: Uint8Array }[] = [];
  for (let n = 0; n < options.conversations; n++) {
    const peer = makeAccount(`peer${n}`);
    const { id } = await makeConversation(made, own, peer);
    await made.state.transact((transaction) =>
      transaction.putContact({ account: peer.account, name: peer.name, chain: new Uint8Array(), firstSeenAt: 0 }),
    );
    peers.push({ id, account: peer.account });
  }
  for (let from = 0; from < options.messages; from += batchRows) {
    await made.state.transact((transaction) => {
      for (let n = from; n < Math.min(from + batchRows, options.messages); n++) {
        // As conversations go: some lines of one, then some of another.
        const peer = peers[Math.floor(n / 10) % peers.length]!;
        const sequence = Math.floor(n / (10 * peers.length)) * 10 + (n % 10) + 1;
        const atMs = Date.UTC(2026, 0, 1) + n * 60_000;
        const row: MessageRow = {
          kind: "message",
          id: random.bytes(16),
          from: n % 3 === 0 ? own.account : peer.account,
          device: random.bytes(16),
          epoch: 1,
          sentAt: atMs,
          acceptedAt: atMs,
          content: encodeContent({
            kind: "text",
            text: options.text(n),
            salt: random.bytes(16),
            sentAtMs: atMs,
            head: { n: 0, hash: new Uint8Array(32) },
          }),
        };
        transaction.putRow(peer.id, placeOf(sequence), row);
      }
    });
  }
}
