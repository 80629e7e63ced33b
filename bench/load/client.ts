/**
 * A client as cheap as it can be, so that the server is what gets measured: real TLS, a real WebSocket, real device
 * authentication and the protocol's frames, but no MLS, no store, and frames of the busy kinds read in place.
 *
 * Acknowledges like a real client: cumulatively, when a batch is done or a little time has passed.
 */
import { sign } from "node:crypto";
import {
  createSubmissionId,
  decodeFrame,
  deviceChallengeBytes,
  encodeAck,
  encodeRequest,
  type MethodName,
  type Params,
  type Result,
  streamPath,
  subprotocol,
} from "@sotto/protocol";
import type { Person } from "./population.ts";
import { createEnvelope, type Envelope, readPayload } from "./private-message.ts";
import { type ConnectTo, LoadSocket } from "./websocket.ts";

const ackAfterEntries = 32;
const ackAfterMs = 20;
const kindReply = 1;

export class LoadClient {
  onMessage: (payload: string) => void;
  /** Told of every failure that the server answers; a load run without them is the only valid one. */
  onFailure: (code: string) => void = () => {};
  readonly #socket: LoadSocket;
  readonly #replies = new Map<number, (result: unknown, failure?: string) => void>();
  readonly #envelopes = new Map<string, Envelope>();
  /** Newest sequence received and not acknowledged, by conversation. */
  readonly #toAck = new Map<string, { conversation: Uint8Array; sequence: number }>();
  #ids = 0;
  #unacked = 0;
  #ackTimer: NodeJS.Timeout | undefined;

  private constructor(socket: LoadSocket, onMessage: (payload: string) => void) {
    this.#socket = socket;
    this.onMessage = onMessage;
    socket.onFrame = this.#receive;
  }

  /** Opens a connection that is nobody's yet. */
  static async open(
    to: ConnectTo,
    onMessage: (payload: string) => void = () => {},
  ): Promise<{ client: LoadClient; deployment: Uint8Array; challenge: Uint8Array }> {
    const socket = await LoadSocket.open(to, streamPath, subprotocol);
    const client = new LoadClient(socket, onMessage);
    return { client, ...(await client.call("hello", { versions: [1], client: "bench" })) };
  }

  /** Opens a connection, authenticates and subscribes, from where the log begins unless `cursors` say what the device has. */
  static async connect(
    to: ConnectTo,
    person: Person,
    options: { onMessage?: (payload: string) => void; cursors?: Params<"subscribe">["cursors"] } = {},
  ): Promise<LoadClient> {
    const { client, deployment, challenge } = await LoadClient.open(to, options.onMessage);
    const { account, device, privateKey, bootRandom } = person;
    const signature = sign(null, deviceChallengeBytes({ deployment, device, challenge }), privateKey);
    await client.call("authenticate", { account, device, signature, boot: { counter: 1, random: bootRandom } });
    await client.call("subscribe", { cursors: options.cursors ?? [], inbox: 0 });
    return client;
  }

  call<Name extends MethodName>(name: Name, params: Params<Name>): Promise<Result<Name>> {
    const id = ++this.#ids;
    this.#socket.send(encodeRequest(id, name, params));
    return new Promise((resolve, reject) => {
      this.#replies.set(id, (result, failure) =>
        failure === undefined ? resolve(result as Result<Name>) : reject(new Error(`${name} failed: ${failure}`)),
      );
    });
  }

  /** Sends a message; `accepted` is called when the server has it on disk. */
  send(conversation: Uint8Array, key: string, payload: string, accepted?: () => void): void {
    let envelope = this.#envelopes.get(key);
    if (envelope === undefined) this.#envelopes.set(key, (envelope = createEnvelope(conversation)));
    const id = ++this.#ids;
    if (accepted !== undefined) this.#replies.set(id, accepted);
    const params = {
      conversation,
      submission: createSubmissionId(random, Date.now()),
      message: envelope.wrap(payload),
    };
    this.#socket.send(encodeSendMessage(id, params));
  }

  close(): void {
    clearTimeout(this.#ackTimer);
    this.#socket.terminate();
  }

  readonly #receive = (bytes: Buffer): void => {
    if (bytes[1] === 3 && this.#receiveEntry(bytes)) return;
    if (bytes[1] === kindReply && this.#receiveReply(bytes)) return;
    const frame = decodeFrame(bytes);
    if (frame.kind === "failure") {
      const code = String(frame.failure["code"]);
      this.onFailure(code);
      this.#replies.get(frame.id)?.(undefined, code);
      this.#replies.delete(frame.id);
    } else if (frame.kind === "reply") {
      this.#replies.get(frame.id)?.(frame.result);
      this.#replies.delete(frame.id);
    }
  };

  /** The reply to a message that nobody waits for, and whose content nobody looks at. */
  #receiveReply(bytes: Buffer): boolean {
    const [id, end] = readCount(bytes, 2);
    if (bytes[end] !== 0xa2 || bytes[end + 1] !== 0x68) return false;
    const accepted = this.#replies.get(id);
    if (accepted !== undefined) {
      this.#replies.delete(id);
      accepted(undefined);
    }
    return true;
  }

  /** `[3, sequence, "entry", {kind, bytes, epoch, acceptedAt, conversation}]` */
  #receiveEntry(bytes: Buffer): boolean {
    const [sequence, end] = readCount(bytes, 2);
    if (bytes[end] !== 0x65 || bytes[end + 1] !== 0x65 /* "entry" */) return false;
    const conversation = bytes.subarray(-16);
    const key = conversation.toString("latin1");
    const waiting = this.#toAck.get(key);
    if (waiting === undefined) this.#toAck.set(key, { conversation: Buffer.from(conversation), sequence });
    else waiting.sequence = sequence;
    if (++this.#unacked >= ackAfterEntries) this.#acknowledge();
    else this.#ackTimer ??= setTimeout(this.#acknowledge, ackAfterMs);
    // Behind "eentry", the map's head and "dkind" stands the kind: a commit is 6 letters, a message 7.
    const kindAt = end + 6 + 1 + 5;
    if (bytes[kindAt] !== 0x67) return true;
    const [length, from] = readCount(bytes, kindAt + 8 + 6);
    this.onMessage(readPayload(bytes, from, length));
    return true;
  }

  readonly #acknowledge = (): void => {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#unacked = 0;
    if (!this.#socket.isOpen) return;
    for (const { conversation, sequence } of this.#toAck.values()) this.#socket.send(encodeAck(sequence, conversation));
    this.#toAck.clear();
  };
}

/** Unpredictable to nobody, different every time: what a benchmark's submission ids have to be. */
const random = {
  bytes(count: number): Uint8Array {
    const bytes = Buffer.allocUnsafe(count);
    for (let i = 0; i + 4 <= count; i += 4) bytes.writeUInt32LE((Math.random() * 0x100000000) >>> 0, i);
    return bytes;
  },
};

/** A CBOR head, whatever its major type: the number, and where it ends. */
function readCount(bytes: Buffer, at: number): [value: number, end: number] {
  const low = bytes[at]! & 0x1f;
  if (low < 24) return [low, at + 1];
  if (low === 24) return [bytes[at + 1]!, at + 2];
  if (low === 25) return [bytes.readUInt16BE(at + 1), at + 3];
  if (low === 26) return [bytes.readUInt32BE(at + 1), at + 5];
  return [bytes.readUIntBE(at + 3, 6), at + 9];
}

const requestName = Buffer.from("ksendMessage\xa3gmessage", "latin1");
const submissionKey = Buffer.from("jsubmission\x50", "latin1");
const conversationKey = Buffer.from("lconversation\x50", "latin1");

/** The same bytes as `encodeRequest(id, "sendMessage", params)`, several times faster; messages are 256 to 65,535 bytes. */
function encodeSendMessage(id: number, params: Params<"sendMessage">): Buffer {
  const { message, submission, conversation } = params;
  const bytes = Buffer.allocUnsafe(
    2 + 5 + requestName.length + 3 + message.length + submissionKey.length + conversationKey.length + 32,
  );
  bytes[0] = 0x84;
  bytes[1] = 0;
  let at = 2;
  if (id < 24) bytes[at++] = id;
  else if (id < 0x100) at = bytes.writeUInt16BE(0x1800 | id, at);
  else if (id < 0x10000) {
    bytes[at] = 0x19;
    at = bytes.writeUInt16BE(id, at + 1);
  } else {
    bytes[at] = 0x1a;
    at = bytes.writeUInt32BE(id, at + 1);
  }
  bytes.set(requestName, at);
  at += requestName.length;
  bytes[at] = 0x59;
  at = bytes.writeUInt16BE(message.length, at + 1);
  bytes.set(message, at);
  at += message.length;
  bytes.set(submissionKey, at);
  at += submissionKey.length;
  bytes.set(submission, at);
  at += 16;
  bytes.set(conversationKey, at);
  at += conversationKey.length;
  bytes.set(conversation, at);
  return bytes.subarray(0, at + 16);
}
