/**
 * What goes over the wires, judged against promises that hold at every moment (invariants I3 to I5, I7, I8, I11, I12), and the
 * marks of rare paths. It sees all frames of all devices and knows no secret, but which key and nonce made a ciphertext.
 */
import { hash } from "node:crypto";
import { decodeFrame, type Frame, toHex } from "@sotto/protocol";
import type { Device } from "./device.ts";
import type { Link, WireWitness } from "./network.ts";
import type { EncryptionWitness } from "./primitives/mls-primitives.ts";

/** What every text of the world contains, and no ciphertext. */
export const canary = "canary";

interface LinkNotes {
  methods: Map<number, { method: string; params: Record<string, unknown> }>;
  acked: Map<string, number>;
}

interface LedgerOptions {
  readonly violate: (invariant: string, what: string) => void;
  readonly mark: (name: string) => void;
  readonly trace: (line: string) => void;
  readonly nowMs: () => number;
  readonly secrets: readonly string[];
}

type Bytes = Uint8Array;
const digest = (bytes: Bytes): string => hash("sha256", bytes).slice(0, 16);
/** After this long a session that was revoked hears nothing more. */
const revokedHearsUntilMs = 1_000;

export class Ledger implements WireWitness, EncryptionWitness {
  readonly #options: LedgerOptions;
  readonly #notes = new WeakMap<Link, LinkNotes>();
  /** `conversation sequence` → what stands there. */
  readonly #entries = new Map<string, string>();
  /** `group epoch` → the sequence of the commit that ended it. */
  readonly #commits = new Map<string, number>();
  /** `device submission` → sequence, and the ciphertexts that were submitted under it. */
  readonly #accepted = new Map<string, number>();
  readonly #submitted = new Map<string, Set<string>>();
  /** `conversation sequence` → the submission that the server acknowledged there. */
  readonly #promised = new Map<string, string>();
  readonly #heads = new Map<string, number>();
  readonly #durable = new Map<string, number>();
  /** The end of a ciphertext → the key and nonce that made it, and those that went out. */
  readonly #madeBy = new Map<string, string>();
  readonly #sentUnder = new Map<string, string>();
  readonly #secrets: readonly Buffer[];
  entries = 0;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#secrets = [canary, ...options.secrets].map((secret) => Buffer.from(secret));
  }

  encrypted(key: Bytes, nonce: Bytes, sealed: Bytes): void {
    this.#madeBy.set(tagOf(sealed), `${digest(key)} ${toHex(nonce)}`);
  }

  /** Whether what the server keeps holds none of what only people know (I8). */
  checkStored(file: string, bytes: Buffer): void {
    for (const secret of this.#secrets)
      if (bytes.includes(secret)) this.#options.violate("I8", `${secret.toString()} stands in ${file}`);
  }

  clientSent(link: Link, bytes: Bytes): void {
    const frame = decodeFrame(bytes);
    const notes = this.#notesOf(link);
    this.#see(`→ ${frame.kind === "request" ? frame.method : frame.kind}`, link, bytes);
    if (frame.kind === "request") {
      const params = frame.params as Record<string, unknown>;
      notes.methods.set(frame.id, { method: frame.method, params });
      if (frame.method === "sendMessage") this.#submits(link, params);
      if (frame.method === "subscribe") this.#comesBack(link, params["cursors"] as [Bytes, number][]);
    } else if (frame.kind === "ack") {
      const conversation = toHex(frame.conversation);
      const before = notes.acked.get(conversation) ?? 0;
      if (frame.sequence < before)
        this.#options.violate("I11", `${link.endpoint.name} acknowledged ${frame.sequence} after ${before}`);
      notes.acked.set(conversation, frame.sequence);
      const place = `${link.endpoint.name} ${conversation}`;
      this.#durable.set(place, Math.max(this.#durable.get(place) ?? 0, frame.sequence));
    }
  }

  serverSent(link: Link, bytes: Bytes): void {
    const frame = decodeFrame(bytes);
    this.#see(`← ${this.#nameOf(link, frame)}`, link, bytes);
    const { removedAtMs } = link.endpoint as Device;
    if (frame.kind === "event") {
      if (removedAtMs !== undefined && this.#options.nowMs() > removedAtMs + revokedHearsUntilMs)
        this.#options.violate("I12", `${link.endpoint.name} heard ${frame.name} after it was removed`);
      if (frame.name === "entry") this.#delivers(frame.sequence, frame.payload as Record<string, unknown>);
      if (frame.name === "keyPackagesLow") this.#options.mark("key-packages-low");
      if (frame.name === "sessionEnded")
        this.#options.mark(`session-ended-${(frame.payload as { reason: string }).reason}`);
      return;
    }
    if (frame.kind !== "reply" && frame.kind !== "failure") return;
    const asked = this.#notesOf(link).methods.get(frame.id);
    if (asked === undefined) return;
    const { method, params } = asked;
    if (frame.kind === "failure") {
      const code = String(frame.failure["code"]);
      this.#options.mark(`${method}-${code}`);
      if (code === "internal" || code === "malformed")
        this.#options.violate("I9", `${method} of ${link.endpoint.name} was answered ${code}`);
      return;
    }
    const result = frame.result as Record<string, unknown>;
    if (method === "sendMessage") this.#accepts(link, params, result["sequence"] as number);
    if (method === "subscribe") this.#showsHeads(result["conversations"] as Record<string, unknown>[]);
    if (method === "claimKeyPackages") {
      if ((result["keyPackages"] as { lastResort: boolean }[]).some(({ lastResort }) => lastResort))
        this.#options.mark("last-resort");
    }
  }

  #nameOf(link: Link, frame: Frame): string {
    if (frame.kind === "event") return `${frame.name} ${frame.sequence}`;
    if (frame.kind !== "reply" && frame.kind !== "failure") return frame.kind;
    const method = this.#notesOf(link).methods.get(frame.id)?.method ?? "nothing";
    return frame.kind === "reply" ? `${method} answered` : `${method} refused: ${String(frame.failure["code"])}`;
  }

  #see(what: string, link: Link, bytes: Bytes): void {
    this.#options.trace(`${link.endpoint.name} ${what} (${bytes.length} bytes, ${digest(bytes)})`);
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (const secret of this.#secrets)
      if (buffer.includes(secret)) this.#options.violate("I8", `${secret.toString()} went over the wire`);
  }

  #notesOf(link: Link): LinkNotes {
    let notes = this.#notes.get(link);
    if (notes === undefined) this.#notes.set(link, (notes = { methods: new Map(), acked: new Map() }));
    return notes;
  }

  #submits(link: Link, params: Record<string, unknown>): void {
    const message = params["message"] as Bytes;
    const submission = `${link.endpoint.name} ${toHex(params["submission"] as Bytes)}`;
    const ciphertext = digest(message);
    const known = this.#submitted.get(submission);
    if (known === undefined) this.#submitted.set(submission, new Set([ciphertext]));
    else {
      this.#options.mark(known.has(ciphertext) ? "message-sent-again" : "message-encrypted-again");
      known.add(ciphertext);
    }
    const madeBy = this.#madeBy.get(tagOf(message));
    if (madeBy === undefined) return;
    const before = this.#sentUnder.get(madeBy);
    if (before !== undefined && before !== ciphertext)
      this.#options.violate("I7", `${link.endpoint.name} sent two ciphertexts under one key and nonce`);
    this.#sentUnder.set(madeBy, ciphertext);
  }

  #comesBack(link: Link, cursors: readonly [Bytes, number][]): void {
    for (const [conversation, cursor] of cursors) {
      const id = toHex(conversation);
      const durable = this.#durable.get(`${link.endpoint.name} ${id}`) ?? 0;
      if (cursor < durable)
        this.#options.violate("I11", `${link.endpoint.name} came back at ${cursor}, and had acknowledged ${durable}`);
    }
  }

  #accepts(link: Link, params: Record<string, unknown>, sequence: number): void {
    const conversation = toHex(params["conversation"] as Bytes);
    const submission = `${link.endpoint.name} ${toHex(params["submission"] as Bytes)}`;
    const before = this.#accepted.get(submission);
    if (before !== undefined && before !== sequence)
      this.#options.violate("I5", `a submission of ${link.endpoint.name} was accepted as ${before} and as ${sequence}`);
    if (before === sequence) this.#options.mark("accepted-again");
    this.#accepted.set(submission, sequence);
    const place = `${conversation} ${sequence}`;
    const promised = this.#promised.get(place);
    if (promised !== undefined && promised !== submission)
      this.#options.violate("I3", `two submissions were accepted at ${sequence}`);
    this.#promised.set(place, submission);
    this.#checkPlace(place);
  }

  #delivers(sequence: number, payload: Record<string, unknown>): void {
    const conversation = toHex(payload["conversation"] as Bytes);
    const bytes = payload["bytes"] as Bytes;
    const place = `${conversation} ${sequence}`;
    const entry = `${String(payload["kind"])} ${String(payload["epoch"])} ${digest(bytes)}`;
    const before = this.#entries.get(place);
    if (before === undefined) {
      this.entries++;
      this.#entries.set(place, entry);
      if (payload["kind"] === "commit")
        this.#commit(groupOf(conversation, bytes), payload["epoch"] as number, sequence);
      this.#checkPlace(place);
    } else if (before !== entry) this.#options.violate("I3", `sequence ${sequence} is not the same for all`);
  }

  #commit(group: string, epoch: number, sequence: number): void {
    const ended = `${group} ${epoch}`;
    const other = this.#commits.get(ended);
    if (other !== undefined) this.#options.violate("I4", `commits ${other} and ${sequence} both end epoch ${epoch}`);
    this.#commits.set(ended, sequence);
    this.#options.mark("commit");
  }

  /** What was acknowledged is what is delivered. */
  #checkPlace(place: string): void {
    const promised = this.#promised.get(place);
    const entry = this.#entries.get(place);
    if (promised === undefined || entry === undefined) return;
    const [kind, , ciphertext] = entry.split(" ");
    if (kind !== "message" || !this.#submitted.get(promised)!.has(ciphertext!))
      this.#options.violate("I1", `${place} was acknowledged for something else than what stands there`);
  }

  #showsHeads(conversations: readonly Record<string, unknown>[]): void {
    for (const shown of conversations) {
      const conversation = toHex(shown["conversation"] as Bytes);
      const head = shown["head"] as number;
      const before = this.#heads.get(conversation) ?? 0;
      if (head < before) this.#options.violate("I11", `the log of ${conversation} ended at ${before}, then at ${head}`);
      this.#heads.set(conversation, head);
      if ((shown["expired"] as number) > 0) this.#options.mark("entries-expired");
    }
  }
}

/** The authentication tag is what a PrivateMessage ends with (RFC 9420 §6.3). */
const tagOf = (bytes: Bytes): string => Buffer.from(bytes.subarray(-16)).toString("latin1");

const generationBytes = 8;

/** The group's id, which stands in its commits: a conversation whose keys were made anew counts its epochs from 0 again. */
function groupOf(conversation: string, commit: Bytes): string {
  const id = Buffer.from(conversation, "hex");
  const at = Buffer.from(commit).indexOf(id);
  return at < 0 ? conversation : toHex(commit.subarray(at, at + id.length + generationBytes));
}
