/**
 * A server that lies by chance: stands between a device and the real server, and treats some of what the server says as a lie
 * asks. A lie is a kind and a subject; any kind can be told about any subject, and which frame it befalls is a number. It knows
 * what a server knows: everything that it ever sent, to whom, and what devices submitted to it; no secret.
 */
import type { Socket, SocketHandlers, Transport } from "@sotto/client";
import { decodeFrame, encodeEvent, encodeReply, toHex } from "@sotto/protocol";
import type { Randomness } from "../world/randomness.ts";

/** What a lie does to what was to be said. */
export const lieKinds = ["withhold", "delay", "duplicate", "reorder", "replay", "fork", "truncate", "forge"] as const;

/** What a lie can be about: an event or the answer to a method, as the design's matrix counts them. */
export const lieSubjects = [
  "message",
  "commit",
  "welcome",
  "group info",
  "key package",
  "device list",
  "directory answer",
  "archive",
  "account vault",
  "log",
  "answer",
  "login",
  "news",
] as const;

export type LieKind = (typeof lieKinds)[number];
export type LieSubject = (typeof lieSubjects)[number];

export interface Lie {
  readonly kind: LieKind;
  readonly subject: LieSubject;
  /** The first frame of the subject that it befalls, counted from 0 over all devices, and how many from there. */
  readonly from: number;
  readonly times: number;
}

const subjectByMethod: Readonly<Record<string, LieSubject>> = {
  getGroupInfo: "group info",
  getStructure: "group info",
  claimKeyPackages: "key package",
  getChains: "device list",
  listDevices: "device list",
  lookupAccount: "directory answer",
  getArchive: "archive",
  listArchives: "archive",
  getAccountVault: "account vault",
  subscribe: "log",
  hello: "login",
  authenticate: "login",
  startLogin: "login",
  finishLogin: "login",
  addDevice: "login",
};

function subjectOfEvent({ name, payload }: Said): LieSubject {
  if (name === "entry") return payload["kind"] === "message" ? "message" : "commit";
  return name === "welcome" ? "welcome" : "news";
}

/** An event, or the answer to a request: what the server says to one device. */
interface Said {
  readonly to: string;
  /** Of the event, or of the method. */
  readonly name: string;
  /** Of an event. */
  readonly sequence: number;
  readonly payload: Record<string, unknown>;
}

type Say = (said: Said) => void;

const delaysMs = { from: 100, to: 30_000 };
/** What was to be overtaken goes by itself when nothing comes that could overtake it. */
const overtakenAfterMs = 3_000;
const historyMax = 200;

export class Liar {
  readonly #lies: readonly Lie[];
  readonly #random: Randomness;
  readonly #told: (lie: Lie, about: Said) => void;
  readonly #counts = new Map<LieSubject, number>();
  readonly #begun = new Set<Lie>();
  readonly #history: Said[] = [];
  /** What devices submitted: commits that lost their epoch among them, which no entry ever carried. */
  readonly #submitted: { readonly by: string; readonly kind: "commit" | "message"; readonly bytes: Uint8Array }[] = [];
  #isHonest = false;

  constructor(options: { lies: readonly Lie[]; random: Randomness; told: (lie: Lie, about: Said) => void }) {
    this.#lies = options.lies;
    this.#random = options.random;
    this.#told = options.told;
  }

  /** From now on it tells the truth. */
  repent(): void {
    this.#isHonest = true;
  }

  /** The transport of a device as this server would have it. */
  around(device: string, transport: Transport): Transport {
    return {
      connect: async (address, handlers, signal) => {
        const methodById = new Map<number, string>();
        const onFrame = this.#ears(device, handlers, methodById);
        const socket = await transport.connect(address, { ...handlers, onFrame }, signal);
        return { ...socket, send: (bytes) => this.#hears(device, socket, methodById, bytes) } satisfies Socket;
      },
    };
  }

  #hears(by: string, socket: Socket, methodById: Map<number, string>, bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    if (frame.kind === "request") {
      methodById.set(frame.id, frame.method);
      const { commit, message } = frame.params as { commit?: unknown; message?: unknown };
      if (commit instanceof Uint8Array) this.#submitted.push({ by, kind: "commit", bytes: commit });
      if (message instanceof Uint8Array) this.#submitted.push({ by, kind: "message", bytes: message });
    }
    socket.send(bytes);
  }

  #ears(to: string, handlers: SocketHandlers, methodById: ReadonlyMap<number, string>): (bytes: Uint8Array) => void {
    const overtaken: (() => void)[] = [];
    return (bytes) => {
      const frame = decodeFrame(bytes);
      let said: Said;
      let subject: LieSubject;
      let say: Say;
      if (frame.kind === "event") {
        said = { to, name: frame.name, sequence: frame.sequence, payload: frame.payload as Said["payload"] };
        subject = subjectOfEvent(said);
        say = ({ sequence, name, payload }) => handlers.onFrame(encodeEvent(sequence, name, payload));
      } else if (frame.kind === "reply") {
        said = { to, name: methodById.get(frame.id)!, sequence: 0, payload: frame.result as Said["payload"] };
        subject = subjectByMethod[said.name] ?? "answer";
        say = ({ payload }) => handlers.onFrame(encodeReply(frame.id, payload));
      } else return handlers.onFrame(bytes);

      const waiting = overtaken.splice(0);
      const lie = this.#lieAbout(subject);
      if (lie === undefined) say(said);
      else {
        this.#told(lie, said);
        this.#tell(lie.kind, said, say, overtaken);
      }
      for (const late of waiting) late();
      this.#history.push(said);
      if (this.#history.length > historyMax) this.#history.shift();
    };
  }

  #lieAbout(subject: LieSubject): Lie | undefined {
    const count = this.#counts.get(subject) ?? 0;
    this.#counts.set(subject, count + 1);
    if (this.#isHonest) return undefined;
    const due = this.#lies.filter(
      (lie) => lie.subject === subject && count >= lie.from && count < lie.from + lie.times,
    );
    // Of two at once the one that was never told.
    const lie = due.find((one) => !this.#begun.has(one)) ?? due[0];
    if (lie !== undefined) this.#begun.add(lie);
    return lie;
  }

  #tell(kind: LieKind, said: Said, say: Say, overtaken: (() => void)[]): void {
    const random = this.#random;
    switch (kind) {
      case "withhold":
        return;
      case "delay":
        setTimeout(() => say(said), random.integer(delaysMs.from, delaysMs.to));
        return;
      case "duplicate":
        say(said);
        return say(said);
      case "reorder": {
        let isSaid = false;
        const late = () => {
          if (!isSaid) say(said);
          isSaid = true;
        };
        overtaken.push(late);
        setTimeout(late, overtakenAfterMs);
        return;
      }
      case "replay":
        return this.#replay(said, say);
      case "fork":
        return say(this.#ofAnother(said) ?? this.#forged(said));
      case "truncate":
        return say(changed(said, (part) => this.#cut(part), random));
      case "forge":
        return say(this.#forged(said));
    }
  }

  /** Says something old again, in its old place or in the place of what is new, and the new as well or not. */
  #replay(said: Said, say: Say): void {
    const random = this.#random;
    const old = this.#history.filter(({ to, name }) => to === said.to && name === said.name);
    if (old.length === 0) return say(said);
    const again = random.pick(old);
    say(random.chance(0.5) ? { ...said, payload: again.payload } : again);
    if (random.chance(0.5)) say(said);
  }

  /** What somebody else was told, or what this device itself had submitted, in the place of what is so. */
  #ofAnother(said: Said): Said | undefined {
    const random = this.#random;
    const kind = subjectOfEvent(said);
    const own = this.#submitted.filter(({ by, kind: of }) => by === said.to && of === kind);
    if (said.name === "entry" && own.length > 0 && random.chance(0.5))
      return { ...said, payload: { ...said.payload, bytes: random.pick(own).bytes } };
    const others = this.#history.filter(
      ({ name, payload }) => name === said.name && payload !== said.payload && !isSame(payload, said.payload),
    );
    if (others.length === 0) return undefined;
    const other = random.pick(others);
    const conversation = said.payload["conversation"];
    const keepsPlace = conversation !== undefined && random.chance(0.7);
    return { ...said, payload: keepsPlace ? { ...other.payload, conversation } : other.payload };
  }

  #forged(said: Said): Said {
    return changed(said, (part) => this.#other(part), this.#random);
  }

  #cut(part: unknown): unknown {
    const random = this.#random;
    if (part instanceof Uint8Array) return part.slice(0, random.integer(0, part.length));
    if (Array.isArray(part)) return part.slice(0, random.integer(0, part.length));
    if (typeof part === "number") return random.integer(0, part + 1);
    if (typeof part === "string") return part.slice(0, random.integer(0, part.length));
    return undefined;
  }

  #other(part: unknown): unknown {
    const random = this.#random;
    if (part instanceof Uint8Array) {
      const known = this.#bytesLike(part);
      const choice = random.integer(0, 3);
      if (choice === 0 && known.length > 0) return random.pick(known);
      if (choice === 1 || part.length === 0) return random.bytes(part.length);
      const at = random.integer(0, part.length);
      return part.with(at, part[at]! ^ (1 << random.integer(0, 8)));
    }
    if (Array.isArray(part)) {
      if (part.length === 0) return part;
      const at = random.integer(0, part.length);
      return random.pick([part.toReversed(), [...part, part[at]], part.filter((_, i) => i !== at)]);
    }
    if (typeof part === "number")
      return random.pick([0, 1, Math.max(0, part - 1), part + 1, part + random.integer(2, 50), 2 ** 50]);
    if (typeof part === "boolean") return !part;
    return random.pick(["commit", "message", "reset", "direct", "group", "admin", "member", "revoked", "replaced"]);
  }

  /** Bytes of the same length that were said before: ids of others above all. */
  #bytesLike(part: Uint8Array): Uint8Array[] {
    const found = new Map<string, Uint8Array>();
    for (const { payload } of this.#history) {
      for (const { value } of partsOf(payload))
        if (value instanceof Uint8Array && value.length === part.length) found.set(toHex(value), value);
    }
    found.delete(toHex(part));
    return [...found.values()];
  }
}

interface Part {
  readonly path: readonly (string | number)[];
  readonly value: unknown;
}

/** Everything at any depth that is no record. */
function* partsOf(value: unknown, path: readonly (string | number)[] = []): Generator<Part> {
  if (value instanceof Uint8Array || value === null || typeof value !== "object") {
    yield { path, value };
    return;
  }
  if (Array.isArray(value)) yield { path, value };
  for (const [key, item] of Object.entries(value))
    yield* partsOf(item, [...path, Array.isArray(value) ? Number(key) : key]);
}

/** What was to be said, or its place in the order, with one part another. */
function changed(said: Said, change: (part: unknown) => unknown, random: Randomness): Said {
  const parts = [...partsOf(said.payload)];
  if (said.sequence > 0 && (parts.length === 0 || random.chance(0.2)))
    return { ...said, sequence: change(said.sequence) as number };
  if (parts.length === 0) return said;
  const { path, value } = random.pick(parts);
  return { ...said, payload: withPart(said.payload, path, change(value)) as Said["payload"] };
}

function withPart(value: unknown, [first, ...rest]: readonly (string | number)[], part: unknown): unknown {
  if (first === undefined) return part;
  const inner = withPart((value as Record<string | number, unknown>)[first], rest, part);
  return Array.isArray(value) ? value.with(first as number, inner) : { ...(value as object), [first]: inner };
}

function isSame(one: Said["payload"], other: Said["payload"]): boolean {
  const [a, b] = [[...partsOf(one)], [...partsOf(other)]];
  return (
    a.length === b.length &&
    a.every(({ value }, i) =>
      value instanceof Uint8Array && b[i]!.value instanceof Uint8Array
        ? toHex(value) === toHex(b[i]!.value)
        : Array.isArray(value) || value === b[i]!.value,
    )
  );
}
